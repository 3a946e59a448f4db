// The conditions of a stall.
import * as assert from 'uvu/assert';
import { StallDetector } from '../../src/runtime/stall.js';
import { suite } from '../support/suite.js';
import { until } from '../support/until.js';

const test = suite('stalls');
const LONG = 60_000;

test('no progress for the given time', async () => {
	const stall = new StallDetector(5);
	await until('a stall', () => stall.stalled);
	assert.ok(stall.deadline <= Date.now() + 1);
	stall.progress();
	assert.is(stall.stalled, false);
});

test('an unchanged counter is not progress, a changed one is', async () => {
	const stall = new StallDetector(5);
	stall.observe(1);
	await until('a stall', () => stall.stalled);
	stall.observe(1);
	assert.is(stall.stalled, true);
	stall.observe(0);
	assert.is(stall.stalled, false);
});

test('progress before the last progress is ignored', () => {
	const stall = new StallDetector(LONG);
	stall.progress(performance.now() - 2 * LONG);
	assert.is(stall.stalled, false);
});

test('no stall with a limit of 0', () => {
	const stall = new StallDetector(0);
	stall.progress(performance.now() - LONG);
	assert.is(stall.stalled, false);
	assert.is(stall.deadline, Number.POSITIVE_INFINITY);
});

test.run();

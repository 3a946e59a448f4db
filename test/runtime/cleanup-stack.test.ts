import * as assert from 'uvu/assert';
import { CleanupStack, withCleanup } from '../../src/runtime/cleanup-stack.js';
import { failureOf } from '../support/failure.js';
import { suite } from '../support/suite.js';

const test = suite('cleanup stack');

test('undoes in reverse order, each step after the one before it has ended', async () => {
	const order: string[] = [];
	const result = await withCleanup(async (cleanup) => {
		cleanup.defer(() => order.push('first'));
		cleanup.defer(async () => {
			await new Promise(setImmediate);
			order.push('second');
		});
		return 'done';
	});
	assert.is(result, 'done');
	assert.equal(order, ['second', 'first']);
});

test('passes the failure of the work to every step, and rejects with it', async () => {
	const passed: unknown[] = [];
	const failure = new Error('the work failed');
	const thrown = await failureOf(
		withCleanup(async (cleanup) => {
			cleanup.defer((error) => passed.push(error));
			cleanup.defer((error) => {
				passed.push(error);
				throw new Error('a consequence');
			});
			throw failure;
		}),
	);
	assert.is(thrown, failure);
	assert.equal(passed, [failure, failure]);
});

test('after a failed step the others still run, and its error is that of work that succeeded', async () => {
	const passed: unknown[] = [];
	const failure = new Error('cannot close');
	const thrown = await failureOf(
		withCleanup(async (cleanup) => {
			cleanup.defer((error) => passed.push(error));
			cleanup.defer(() => {
				throw failure;
			});
		}),
	);
	assert.is(thrown, failure);
	assert.equal(passed, [failure]);
});

test('a step runs once', async () => {
	let count = 0;
	const cleanup = new CleanupStack();
	cleanup.defer(() => count++);
	assert.is(await cleanup.close(), undefined);
	assert.is(await cleanup.close(), undefined);
	assert.is(count, 1);
});

test.run();

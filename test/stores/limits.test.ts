/** --memory-limit, and the spool that takes over. */
import { readdirSync } from 'node:fs';
import * as assert from 'uvu/assert';
import type { StreamError } from '../../src/runtime/stream-error.js';
import { content } from '../support/content.js';
import { failureOf } from '../support/failure.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { give, held, type Manner } from './kinds.js';

const LARGE = content(1, 5 << 20);
const byReference: Manner = [['move', 300_000]];

const test = suite('limits');

test('without a spool: an error with the limit', async () => {
	const filled = held({ memoryLimit: 2 << 20 });
	const error = await failureOf<StreamError>(give(filled.store.create('large'), LARGE, byReference));
	assert.is(error.code, 'MEMORY_LIMIT');
	assert.match(error.message, /more than the 2097152 bytes of memory/);
});

test('with many small files: the same error', async () => {
	const filled = held({ memoryLimit: 100_000 });
	const small = LARGE.subarray(0, 60_000);
	await give(filled.store.create('1'), small, [['append', 1000]]);
	const error = await failureOf<StreamError>(give(filled.store.create('2'), small, [['append', 1000]]));
	assert.is(error.code, 'MEMORY_LIMIT');
});

test('a file that grows large counts once', async () => {
	const filled = held({ memoryLimit: 1_000_000 });
	for (let i = 0; i < 9; i++)
		await give(filled.store.create(`${i}`), LARGE.subarray(0, 100_000), [['append', 50_000]]);
	await filled.complete();
	assert.is((await filled.read('8'))?.length, 100_000);
});

test('over the limit the spool is used, which is reported once', async () => {
	const spool = temporaryDirectory();
	const filled = held({ memoryLimit: 2 << 20, spool });
	for (const name of ['1', '2', '3']) await give(filled.store.create(name), LARGE, byReference);
	assert.is(filled.messages.filter((line) => line.includes(spool)).length, 1, filled.messages.join('\n'));
	assert.equal(readdirSync(spool), [], 'its files have no names');
	await filled.complete();
	for (const name of ['3', '1', '2']) assert.ok((await filled.read(name))?.equals(LARGE));
});

test('memory files count against the limit as pipes do', async () => {
	const filled = held({ keep: true, memoryLimit: 2 << 20 });
	const error = await failureOf<StreamError>(give(filled.store.create('large'), LARGE, byReference));
	assert.is(error.code, 'MEMORY_LIMIT');
	assert.match(error.message, /more than the 2097152 bytes of memory/);
});

test('a spool that is not a directory is named in the error', async () => {
	const filled = held({ memoryLimit: 0, spool: '/dev/null' });
	const error = await failureOf<StreamError>(give(filled.store.create('large'), LARGE, byReference));
	assert.match(error.message, /the spool directory \/dev\/null/);
});

test.run();

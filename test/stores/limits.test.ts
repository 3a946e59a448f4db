/** --memory-limit, and the spool that takes over. */
import { readdirSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { content } from '../support/content.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/temporary.js';
import { give, held, type Manner } from './kinds.js';

const LARGE = content(1, 5 << 20);
const byReference: Manner = [['move', 300_000]];

const test = suite('limits');

test('without a spool: an error with the hint', async () => {
	const filled = held({ memoryLimit: 2 << 20 });
	let message = '';
	await give(filled.store.create('large'), LARGE, byReference).catch((error) => (message = error.message));
	assert.match(message, /more than the 2097152 bytes of --memory-limit.*--spool DIR/);
});

test('with many small files, too', async () => {
	const filled = held({ memoryLimit: 100_000 });
	const small = LARGE.subarray(0, 60_000);
	await give(filled.store.create('1'), small, [['append', 1000]]);
	let message = '';
	await give(filled.store.create('2'), small, [['append', 1000]]).catch((error) => (message = error.message));
	assert.match(message, /--memory-limit.*--spool/);
});

test('what turns out to be a large file counts once', async () => {
	const filled = held({ memoryLimit: 1_000_000 });
	for (let i = 0; i < 9; i++)
		await give(filled.store.create(`${i}`), LARGE.subarray(0, 100_000), [['append', 50_000]]);
	await filled.complete();
	assert.is((await filled.read('8'))?.length, 100_000);
});

test('past the limit the spool takes over, which is said once', async () => {
	const spool = temporaryFolder();
	const filled = held({ memoryLimit: 2 << 20, spool });
	for (const name of ['1', '2', '3']) await give(filled.store.create(name), LARGE, byReference);
	assert.is(filled.said.filter((line) => line.includes(spool)).length, 1, filled.said.join('\n'));
	assert.equal(readdirSync(spool), [], 'its files have no names');
	await filled.complete();
	for (const name of ['3', '1', '2']) assert.ok((await filled.read(name))?.equals(LARGE));
});

test('memory files count against the limit as pipes do', async () => {
	const filled = held({ keep: true, memoryLimit: 2 << 20 });
	let message = '';
	await give(filled.store.create('large'), LARGE, byReference).catch((error) => (message = error.message));
	assert.match(message, /more than the 2097152 bytes of --memory-limit.*--spool DIR/);
});

test('a spool that is no folder is named', async () => {
	const filled = held({ memoryLimit: 0, spool: '/dev/null' });
	let message = '';
	await give(filled.store.create('large'), LARGE, byReference).catch((error) => (message = error.message));
	assert.match(message, /--spool \/dev\/null/);
});

test.run();

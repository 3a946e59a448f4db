/** Held files are read at any offset where the store can do that, with their corrections, and refused where it cannot. */
import * as assert from 'uvu/assert';
import { content } from '../support/content.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { give, type Held, held, type Manner } from './kinds.js';

const MB = 1 << 20;
const size = 3 * MB + 100;
const turns: Manner = [
	['append', 70_001],
	['move', 100_003],
];
const kinds: Record<string, () => Held> = {
	'memory files': () => held({ keep: true }),
	'a spool': () => held({ keep: true, memoryLimit: 0, spool: temporaryDirectory() }),
	'memory files, then a spool': () => held({ keep: true, memoryLimit: MB, spool: temporaryDirectory() }),
};

for (const [kind, make] of Object.entries(kinds)) {
	const test = suite(`random access: ${kind}`);
	test('a large file', async () => {
		const { store } = make();
		const expected = Buffer.from(content(1, size));
		await give(store.create('pages-1.img'), content(1, size), turns);
		for (const at of [0, MB - 2, size - 5]) {
			expected.write('right', at);
			store.image.patch('pages-1.img', at, Buffer.from('right'));
		}
		const file = store.image.file('pages-1.img')!;
		for (const [from, to] of [
			[0, size],
			[2, 9],
			[MB - 1, MB + 1],
			[size - 3, size],
			[4096, 2 * MB],
		] as const) {
			const target = Buffer.alloc(to - from);
			assert.is(file.readAt(from, target), to - from);
			assert.ok(target.equals(expected.subarray(from, to)), `bytes ${from} to ${to}`);
		}
		const beyond = Buffer.alloc(10);
		assert.is(file.readAt(size - 4, beyond), 4, 'at the end there are fewer');
		assert.is(file.readAt(size, beyond), 0);
	});
	test.run();
}

const test = suite('random access');
test('a small file', async () => {
	const { store } = held();
	await give(store.create('core-1.img'), content(1, 1000), [['append', 400]]);
	const target = Buffer.alloc(100);
	assert.is(store.image.file('core-1.img')!.readAt(950, target), 50);
	assert.ok(target.subarray(0, 50).equals(content(1, 1000).subarray(950)));
});

test('pages in pipes have none', async () => {
	const { store } = held();
	await give(store.create('pages-1.img'), content(1, size), [['move', MB]]);
	assert.is(store.image.file('pages-1.img')!.readAt(0, Buffer.alloc(10)), undefined);
});
test.run();

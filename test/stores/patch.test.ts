/** Corrected bytes in a store are read corrected, wherever they are stored, and no other bytes change. */
import * as assert from 'uvu/assert';
import { content } from '../support/content.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { directory, type Filled, give, held, type Manner } from './kinds.js';

const MB = 1 << 20;
/** Offsets around the bounds of pages, blocks and parked pipes, at the beginning and at the end. */
const places = [0, 4093, 8192, 65_534, MB - 2, MB + 7, 3 * MB - 5];
const size = 3 * MB;
const kinds: Record<string, () => Filled> = {
	'parked in pipes': () => held(),
	'in memory files': () => held({ keep: true }),
	'in a spool': () => held({ memoryLimit: MB, spool: temporaryDirectory() }),
	'in a directory': directory,
};
const manners: Record<string, Manner> = {
	'by reference': [['move', MB]],
	'in odd pieces': [
		['append', 70_001],
		['move', 100_003],
	],
};

for (const [kind, make] of Object.entries(kinds)) {
	const test = suite(`corrections, ${kind}`);
	for (const [how, manner] of Object.entries(manners)) {
		test(how, async () => {
			const filled = make();
			const expected = Buffer.from(content(1, size));
			await give(filled.store.create('pages-1.img'), content(1, size), manner);
			await give(filled.store.create('pages-2.img'), content(2, 100), manner);
			for (const at of places) {
				const bytes = Buffer.from(`${at}`.padStart(5, '.').slice(0, 5));
				bytes.copy(expected, at);
				filled.store.image.patch('pages-1.img', at, bytes);
			}
			filled.store.image.patch('pages-2.img', 50, Buffer.from('small'));
			await filled.complete();
			const got = await filled.read('pages-1.img');
			assert.is(got?.length, size);
			assert.ok(got!.equals(expected), `differs at ${got!.findIndex((byte, i) => byte !== expected[i])}`);
			const small = Buffer.from(content(2, 100));
			small.write('small', 50);
			assert.equal(await filled.read('pages-2.img'), small);
		});
	}

	test('corrections outside of a file are refused', async () => {
		const filled = make();
		await give(filled.store.create('pages-1.img'), content(1, size), [['move', MB]]);
		await give(filled.store.create('pages-2.img'), content(2, 100), [['append', 100]]);
		const four = Buffer.from('four');
		const refused = (name: string, at: number) =>
			assert.throws(() => filled.store.image.patch(name, at, four), /which it corrects/);
		refused('pages-1.img', size - 3);
		refused('pages-2.img', 97);
		refused('pages-3.img', 0);
	});
	test.run();
}

const test = suite('corrections, kept');
test('every restore gets the corrections', async () => {
	const filled = held({ keep: true }, 2);
	await give(filled.store.create('pages-1.img'), content(1, size), [['move', MB]]);
	filled.store.image.patch('pages-1.img', 5000, Buffer.from('right'));
	await filled.complete();
	for (const criu of filled.criu)
		assert.is((await criu.read('pages-1.img'))?.toString('latin1', 5000, 5005), 'right');
});
test.run();

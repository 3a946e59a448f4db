/**
 * The offset of an address in a pages image, for the pagemaps of every CRIU: the same pages, counted in different fields.
 */
import * as assert from 'uvu/assert';
import { Pagemap } from '../../src/images/pagemap.js';
import { suite } from '../support/suite.js';
import { field, image, PAGEMAP_MAGIC } from './build.js';

const test = suite('pagemap');
const PAGE = 4096;
const START = 0x7f00_0000_0000;
const PARENT = 1;
const PRESENT = 4;

const head = field(1, 7);
type Entry = { pages: number; at?: number; flags?: number };
const entry = { 'CRIU 4.2': 5, 'CRIU 4.1': 2 };

for (const [release, count] of Object.entries(entry)) {
	const of = (...entries: Entry[]) =>
		new Pagemap(
			image(
				PAGEMAP_MAGIC,
				head,
				...entries.map(({ pages, at = START, flags = PRESENT }) =>
					Buffer.concat([
						field(1, at),
						field(2, count === 2 ? pages : 0),
						field(4, flags),
						...(count === 5 ? [field(5, pages)] : []),
					]),
				),
			),
			'pagemap-1.img',
		);

	test(`${release}: an address in the second extent`, () => {
		const pagemap = of({ pages: 2 }, { at: START + 10 * PAGE, pages: 3 });
		assert.is(pagemap.pagesId, 7);
		const address = START + 11 * PAGE + 5;
		assert.equal(pagemap.locate(address, 4), [{ offset: 3 * PAGE + 5, address, bytes: 4 }]);
	});

	test(`${release}: pages of a parent take no space`, () => {
		const pagemap = of({ pages: 5, flags: PARENT }, { at: START + 5 * PAGE, pages: 1 });
		assert.equal(pagemap.locate(START, 4), []);
		assert.is(pagemap.locate(START + 5 * PAGE, 4)[0]!.offset, 0);
	});

	test(`${release}: a word across the end of an extent is found in part`, () => {
		const pagemap = of({ pages: 1 }, { at: START + 2 * PAGE, pages: 1 });
		const address = START + PAGE - 1;
		assert.equal(pagemap.locate(address, 4), [{ offset: PAGE - 1, address, bytes: 1 }]);
		assert.equal(pagemap.locate(START + PAGE, 4), []);
	});

	test(`${release}: a word across two adjacent extents`, () => {
		const pagemap = of({ pages: 1 }, { at: START + PAGE, pages: 1 });
		const address = START + PAGE - 2;
		assert.equal(pagemap.locate(address, 4), [
			{ offset: PAGE - 2, address, bytes: 2 },
			{ offset: PAGE, address: START + PAGE, bytes: 2 },
		]);
	});
}

test('CRIU before 3.0: no flags, only whether a parent has the pages', () => {
	const entries = [0, 1].map((inParent) =>
		Buffer.concat([field(1, START + inParent * PAGE), field(2, 1), ...(inParent ? [field(3, 1)] : [])]),
	);
	const { runs, pagesBytes } = new Pagemap(image(PAGEMAP_MAGIC, head, ...entries), 'pagemap-1.img');
	assert.equal(
		runs.map(({ flags }) => flags),
		[PRESENT, PARENT],
	);
	assert.is(pagesBytes, PAGE);
});

test('compressed pages have no place that is known', () => {
	const blocks = Buffer.concat([
		field(1, START),
		field(2, 0),
		field(4, PRESENT),
		field(5, 1),
		field(6, Buffer.of(1)),
	]);
	const pagemap = new Pagemap(image(PAGEMAP_MAGIC, head, blocks), 'pagemap-1.img');
	assert.ok(pagemap.compressed);
	assert.throws(() => pagemap.locate(START, 4), /compressed/);
});

test('a file that is not a pagemap is refused', () => {
	const refused = (content: Buffer, message: RegExp) =>
		assert.throws(() => new Pagemap(content, 'pagemap-1.img'), message);
	refused(Buffer.alloc(0), /pagemap-1\.img is not an image/);
	refused(image(1, head), /not an image/);
	refused(image(PAGEMAP_MAGIC), /no head/);
	refused(image(PAGEMAP_MAGIC, head).subarray(0, -1), /ends within a message/);
	const two = [START, START].map((at) =>
		Buffer.concat([field(1, at), field(2, 0), field(4, PRESENT), field(5, 1)]),
	);
	refused(image(PAGEMAP_MAGIC, head, ...two), /not in order/);
});

test.run();

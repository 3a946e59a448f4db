/** Runs of pages of several dumps, by themselves; test/capture/chain.test.ts has whole chains. */
import * as assert from 'uvu/assert';
import { FlatRuns } from '../../src/images/flat-runs.js';
import { extentsOf, overlay } from '../../src/images/flatten.js';
import { PARENT, PRESENT } from '../../src/images/pagemap.js';
import { suite } from '../support/suite.js';

const test = suite('flatten');
const PAGE = 4096;
const PAGES = 2000;

const run = (page: number, pages: number, flags: number, offset = 0) => ({
	address: page * PAGE,
	bytes: pages * PAGE,
	flags,
	offset: offset * PAGE,
});

test('every second page is of another dump', () => {
	const first = overlay([run(0, PAGES, PRESENT)], 'first');
	const odd = Array.from({ length: PAGES }, (_, page) =>
		run(page, 1, page % 2 ? PRESENT : PARENT, page >> 1),
	);
	const second = overlay(odd, 'second', first);
	const third = overlay([run(0, PAGES, PARENT)], 'third', second);
	assert.is(third.length, PAGES);
	assert.is(third.firstMissing(), undefined);
	[...extentsOf(third)].forEach(({ source, offset, bytes }, page) => {
		assert.is(source, page % 2 ? 'second' : 'first');
		assert.is(offset, (page % 2 ? page >> 1 : page) * PAGE);
		assert.is(bytes, PAGE);
	});
});

test('what only the second newest dump lacks is missing there', () => {
	const first = overlay([run(0, 4, PRESENT)], 'first');
	const second = overlay([run(0, 2, PARENT), run(6, 1, PARENT)], 'second', first);
	const third = overlay([run(1, 7, PARENT)], 'third', second);
	const runs = [...third].map(({ address, bytes, flags, source }) => [
		address / PAGE,
		bytes / PAGE,
		flags,
		source,
	]);
	assert.equal(runs, [
		[1, 1, PRESENT, 'first'],
		[2, 4, PARENT, 'third'],
		[6, 1, PARENT, 'second'],
		[7, 1, PARENT, 'third'],
	]);
	assert.is(third.firstMissing()!.source, 'third');
});

test('more runs than there was room for', () => {
	const runs = new FlatRuns(['only'], 2);
	for (let page = 0; page < PAGES; page++) runs.append(2 * page * PAGE, PAGE, PRESENT, page * PAGE, 0);
	assert.is(runs.length, PAGES);
	assert.equal([...extentsOf(runs)], [{ source: 'only', offset: 0, bytes: PAGES * PAGE }]);
	assert.is(runs.address(PAGES - 1), 2 * (PAGES - 1) * PAGE);
});

test.run();

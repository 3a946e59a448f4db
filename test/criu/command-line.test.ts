/** Parsing of CRIU's command line. */
import * as assert from 'uvu/assert';
import { treeOf } from '../../src/criu/command-line.js';
import { suite } from '../support/suite.js';

const test = suite('command line of CRIU');

const trees: [words: string[], tree: number | undefined][] = [
	[['criu', 'dump', '-t', '123', '--stream'], 123],
	[['criu', 'dump', '-t123'], 123],
	[['criu', 'dump', '--tree', '123'], 123],
	[['criu', 'dump', '--tree=123'], 123],
	[['criu: dump --rpc -t 123'], 123],
	[['criu', 'dump', '--stream'], undefined],
	[['criu', 'dump', '-t'], undefined],
	[['criu', 'dump', '-t', 'all'], undefined],
];
for (const [words, tree] of trees)
	test(`the tree of ${words.join(' ')}`, () => assert.is(treeOf(words), tree));

test.run();

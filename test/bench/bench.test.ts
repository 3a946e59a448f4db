// The bench itself: a tiny run of everything has to give tables and a plot, and keep the text around them.
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import { readStats } from '../../bench/criu.js';
import { Figures, ratios, type Sample, spread } from '../../bench/figures.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { need } from '../support/tools.js';

const test = suite('bench');
const run = (...args: string[]) =>
	promisify(execFile)(process.execPath, ['--import', 'tsx', 'bench/run.ts', ...args], { maxBuffer: 2 ** 24 });

test(
	'measures, and puts tables and a plot into a document',
	async () => {
		need('gcc');
		const dir = temporaryDirectory();
		const document = join(dir, 'bench.md');
		const raw = join(dir, 'runs.json');
		const marks = ['<!-- figures: made by npm run bench, not by hand -->', '<!-- end of figures -->'];
		writeFileSync(document, `before\n${marks.join('\nold\n')}\nafter\n`);
		const small = ['--sizes', '0.008,0.016', '--shards', '1,2', '--files', '20', '--rounds', '1'];
		const { stdout } = await run(...small, '--disk', dir, '--tmpfs', dir, '--raw', raw, '--save', document);
		for (const title of ['Goals', 'CPU seconds per GB', 'Copied bytes', 'Small files', 'Start-up', 'By size'])
			assert.match(stdout, `### ${title}`);
		const saved = readFileSync(document, 'utf8');
		assert.match(saved, /^before\n/);
		assert.match(saved, /\nafter\n$/);
		assert.not.match(saved, '\nold\n');
		assert.match(saved, stdout.trim());
		assert.match(
			readFileSync(join(dir, 'bench.svg'), 'utf8'),
			/^<svg [\s\S]*ours, 2 shards[\s\S]*<\/svg>\n$/,
		);
		const again = await run('--from', raw);
		assert.is(again.stdout, stdout);
	},
	{ seconds: 600 },
);

test('refuses an unknown measure', async () => {
	const error = await run('--only', 'nothing').catch((reason) => reason);
	assert.is(error.code, 1);
	assert.match(error.stderr, "there is no measure 'nothing'");
});

test('a slope is the cost per GB without start-up', () => {
	const sample = (gigabytes: number, round: number, cpu: number): Sample =>
		({
			measure: 'replay',
			bytes: gigabytes * 2 ** 30,
			small: 0,
			shards: 1,
			participant: 'ours',
			round,
			run: { cpu },
		}) as Sample;
	const figures = new Figures([sample(1, 0, 5), sample(3, 0, 9), sample(1, 1, 5), sample(3, 1, 7)]);
	const of = { measure: 'replay', participant: 'ours', shards: 1 } as const;
	assert.equal(
		figures.slopes(of, ({ run }) => run.cpu),
		[2, 1],
	);
	assert.equal(spread([3, 1, 2, 10]), { count: 4, median: 2.5, min: 1, max: 10 });
	assert.equal(ratios([1, -1, 4], [2, 2, 2]), [0.5, 2]);
});

test("reads the times out of CRIU's statistics", () => {
	const body = Buffer.from('0a0808a08d0610c0843d', 'hex');
	const head = Buffer.alloc(12);
	for (const [i, value] of [0x55105940, 0x57093306, body.length].entries()) head.writeUInt32LE(value, 4 * i);
	assert.is(readStats(Buffer.concat([head, body])).frozen, 1_000_000);
	assert.throws(() => readStats(Buffer.alloc(20)), 'no stats-dump');
});

test.run();

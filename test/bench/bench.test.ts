// The bench itself: a tiny run of everything has to give tables and a plot, and keep the text around them.
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import { lines, ratios, type Sample, spread } from '../../bench/figures.js';
import { goals, perFile, verdict } from '../../bench/goals.js';
import { missing, readers, senders } from '../../bench/readers.js';
import { readStats } from '../../bench/stats-dump.js';
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
		const small = ['--quick', '--sizes', '0.016', '--files', '20'];
		const { stdout } = await run(...small, '--disk', dir, '--tmpfs', dir, '--raw', raw, '--save', document);
		for (const title of [
			'Goals',
			'Capture into',
			'Replay',
			'Extract',
			'Copied bytes',
			'Small files',
			'Start-up',
		])
			assert.match(stdout, `### ${title}`);
		for (const { name } of [...readers, ...senders]) {
			const cell = `| ${name.replaceAll('|', '\\|')} |`;
			assert.ok(stdout.includes(cell) || stdout.includes(`${name} (there is no `), name);
		}
		const saved = readFileSync(document, 'utf8');
		assert.match(saved, /^before\n/);
		assert.match(saved, /\nafter\n$/);
		assert.not.match(saved, '\nold\n');
		assert.match(saved, stdout.trim());
		assert.match(readFileSync(join(dir, 'bench.svg'), 'utf8'), /^<svg [\s\S]*cat \| cat[\s\S]*<\/svg>\n$/);
		const again = await run('--from', raw);
		assert.is(again.stdout, stdout);
	},
	{ seconds: 600 },
);

for (const [option, what] of [
	['--only', 'measure'],
	['--through', 'reader or sender'],
] as const)
	test(`refuses an unknown ${what}`, async () => {
		const error = await run(option, 'neither').catch((reason) => reason);
		assert.is(error.code, 1);
		assert.match(error.stderr, `there is no ${what} 'neither'`);
	});

test('finds out which tools are missing', () => {
	assert.equal(missing({ needs: ['sh', 'no-such-command'] }), ['no-such-command']);
	assert.equal(missing({}), []);
});

const capture = (name: string, participant: Sample['participant'], walls: number[]): Sample[] =>
	walls.map((wall, round) => ({
		...{ measure: 'capture', bytes: 2 ** 30, files: 0 },
		...{ name, participant, round, run: { wall } },
	}));

test('the limit of a reader that is slow by itself is a narrower one', () => {
	const samples = [
		...capture('cat', 'limit', [1, 1, 1]),
		...capture('cat', 'ours', [1.2, 1.2, 1.2]),
		...capture('lz4', 'limit', [3, 3, 3]),
		...capture('lz4', 'ours', [3.6, 3.6, 3.6]),
	];
	const text = goals(samples);
	assert.match(text, '| capture into cat, wall | ≤ 1.3 × limit | 1.2 (1.2 to 1.2) | yes |');
	assert.match(text, '| capture into lz4, wall | ≤ 1.1 × limit | 1.2 (1.2 to 1.2) | **no** |');
});

test('ratios are within rounds, and a verdict needs rounds that agree', () => {
	assert.equal(spread([3, 1, 2, 10]), { count: 4, median: 2.5, low: 1.5, high: 6.5, min: 1, max: 10 });
	assert.equal(ratios([1, 0, 4], [2, 2, 2]), [0.5, 2]);
	assert.is(verdict(spread([0.7, 0.8, 0.9, 0.9, 2])!, 1), 'yes');
	assert.is(verdict(spread([0.9, 1.2, 1.2, 1.3, 1.3])!, 1), '**no**');
	assert.match(verdict(spread([0.7, 0.8, 0.9, 1.1, 1.2])!, 1), 'unclear');
	assert.match(verdict(spread([0.7, 0.7])!, 1), 'unclear');
});

test('the memory of a small file is without its content, and without what every replay needs', () => {
	const samples = [30, 10].map(
		(files): Sample => ({
			...{ measure: 'memory', name: 'small files', bytes: 0, files },
			...{ participant: 'ours', round: 0, run: { resident: 5000 + files * (400 + 100) } },
		}),
	);
	assert.equal(perFile(lines(samples, 'memory'), 'ours'), [100]);
});

test("reads the times out of CRIU's statistics", () => {
	const body = Buffer.from('0a0808a08d0610c0843d', 'hex');
	const head = Buffer.alloc(12);
	for (const [i, value] of [0x55105940, 0x57093306, body.length].entries()) head.writeUInt32LE(value, 4 * i);
	assert.is(readStats(Buffer.concat([head, body])).frozen, 1_000_000);
	assert.throws(() => readStats(Buffer.alloc(20)), 'no stats-dump');
});

test.run();

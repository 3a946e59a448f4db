// The runner must not count a broken file as passed.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { runFile } from '../support/runner.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';

const support = fileURLToPath(new URL('../support/suite.ts', import.meta.url));
const test = suite('runner', { together: 3 });

/** Runs a test file with the content `code`; `seconds` is its limit. */
async function run(code: string, { ci = '', seconds = 60 } = {}) {
	const file = join(temporaryDirectory(), 'fixture.mts');
	const head = `import { suite, skip, skipImpossible } from ${JSON.stringify(support)};
		const test = suite('fixture');\n`;
	writeFileSync(file, head + code);
	const before = process.env.CI;
	process.env.CI = ci;
	// Its process is started with this environment before anything is waited for.
	const result = runFile(file, seconds);
	if (before === undefined) delete process.env.CI;
	else process.env.CI = before;
	return await result;
}

test('counts passed tests', async () => {
	const result = await run(`test('a', () => {}); test('b', async () => {}); test.run();`);
	assert.equal(result.failures, []);
	assert.is(result.passed, 2);
});

test('names failed tests', async () => {
	const result = await run(`test('a', () => { throw new Error('why') }); test('b', () => {}); test.run();`);
	assert.equal(result.failures, ['fixture: a: why']);
	assert.is(result.passed, 1);
});

const broken: [what: string, code: string, failure: RegExp][] = [
	// The first, because its process is given time to end: the others run meanwhile.
	[
		'a test that takes too long',
		`test('a', () => new Promise(() => {}), { seconds: 0.2 }); test.run(); setInterval(() => {}, 9e3);`,
		/longer than 0.2/,
	],
	['a rejection that is not an Error', `test('a', () => Promise.reject(7)); test.run();`, /not an Error: 7/],
	[
		'a before hook that throws',
		`test.before(() => { throw new Error('x') }); test('a', () => {}); test.run();`,
		/0 of its 1/,
	],
	['a file without tests', ``, /holds no tests/],
	['a suite that is never run', `test('a', () => {});`, /0 of its 1/],
	['a file that ends itself early', `test('a', () => process.exit(0)); test.run();`, /0 of its 1/],
	[
		'a file that is killed',
		`test('a', () => process.kill(process.pid, 'SIGKILL')); test.run();`,
		/without its totals.*SIGKILL/,
	],
	['a file that does not compile', `test('a', () => {`, /ended/],
	[
		'a wrong exit code',
		`test('a', () => {}); test.run(); process.on('exit', () => process.exit(3));`,
		/exit code 3/,
	],
];
for (const [what, code, failure] of broken) {
	test(`fails ${what}`, async () => {
		const result = await run(code);
		assert.is(result.failures.length, 1, result.failures.join());
		assert.match(result.failures[0]!, failure);
	});
}

test('stops a file that hangs', async () => {
	const result = await run(`test('a', () => { for (;;); }); test.run();`, { seconds: 2 });
	assert.match(result.failures[0]!, 'longer than 2 seconds');
});

test('a skip has a reason, and is a failure in CI unless the machine cannot run the test', async () => {
	const code = `test('a', () => skip('no lz4')); test('b', () => skipImpossible('no kernel')); test.run();`;
	const outside = await run(code);
	assert.equal(outside.failures, []);
	assert.equal(
		outside.skipped.map(({ reason }) => reason),
		['no lz4', 'no kernel'],
	);
	const inside = await run(code, { ci: '1' });
	assert.equal(
		inside.skipped.map(({ reason }) => reason),
		['no kernel'],
	);
	assert.is(inside.failures.length, 1);
	assert.match(inside.failures[0]!, 'no lz4');
});

test('the time of each file is printed at the end, slowest first, and then the totals', () => {
	const cwd = fileURLToPath(new URL('../..', import.meta.url));
	const run = ['--import', 'tsx', 'test/run.ts', 'net/frame', 'net/address'];
	const lines = execFileSync(process.execPath, run, { cwd, encoding: 'utf8' }).trimEnd().split('\n');
	assert.match(lines.at(-1)!, /^\d+ passed, 0 failed$/);
	const times = lines.slice(lines.indexOf('time of each file, slowest first:') + 1, -2);
	assert.equal(times.map((line) => line.trim().split(/ +/)[2]).sort(), [
		'test/net/address.test.ts',
		'test/net/frame.test.ts',
	]);
	const seconds = times.map((line) => Number.parseFloat(line));
	assert.ok(seconds[0]! >= seconds[1]!);
});

test.run();

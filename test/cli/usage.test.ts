// The command line, as users of yargs programs expect it; exit codes 0, 1 and 2.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { imageEnd, streamOf, whole } from '../support/markers.js';
import { pipe, pipeOf } from '../support/pipe.js';
import { namesIn, StandInDump } from '../support/stand-in.js';
import { ours, Streamer } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { need } from '../support/tools.js';

const test = suite('usage', { together: 3 });
/** Limits of a child that this process waits for synchronously, so that the suite's own limit has no effect. */
const LIMIT = { timeout: 60_000, killSignal: 'SIGKILL' } as const;
const stream = streamOf(...whole('a.img', 'content'), imageEnd());

/** Runs the command to its end in an empty directory; stdout is a pipe, stdin /dev/null. */
async function run(...args: string[]) {
	const cwd = temporaryDirectory();
	const out = pipe();
	const process = new Streamer(args, { stdout: out.writeEnd, cwd });
	const stdout = String(await out.readEnd.all());
	return { end: await process.end, stdout, stderr: process.stderr, made: namesIn(cwd) };
}

const wrong: [args: string[], message: RegExp][] = [
	[[], /A command is missing: capture, extract, serve/],
	[['restore'], /restore/],
	[['capture', '--no-such-option'], /no-such-option/],
	[['capture', '-x'], /x/],
	[['capture', 'extract'], /extract/],
	[['capture', '--work-dir'], /Not enough arguments following: work-dir/],
	[['capture', '--work-dir='], /--work-dir is empty/],
	[['capture', '-W', 'a', '-W', 'b'], /--work-dir is given more than once/],
	[['capture', '--shard-fds', 'ten'], /--shard-fds: ten is no file descriptor/],
	[['capture', '--shard-fds', '-1'], /shard-fds/],
	[['capture', '--shard-fds', '1,,2'], /--shard-fds is empty/],
	[['capture', '--shard-fds', '10,10'], /fd 10 is given twice/],
	[
		['capture', '--shard-fds', Array.from({ length: 33 }, (_, i) => i + 10).join()],
		/33 shards; 32 are the most/,
	],
	[['capture', '--shard-fds', '77'], /shard fd 77 is not open/],
	[['capture', '--ext-file-fds', 'fs.tar'], /fs\.tar is not name:fd/],
	[['capture', '--ext-file-fds', 'a/b:5'], /"a\/b", which holds a slash/],
	[['capture', '--ext-file-fds', 'a:5,a:6'], /a is given twice/],
	[['capture', '--ext-file-fds', 'a:1', '--shard-fds', '1'], /fd 1 is given twice/],
	[['capture', '--progress-fd', 'x'], /--progress-fd: x is no file descriptor/],
	[['capture', '--tcp-listen-remap', '80:81'], /--tcp-listen-remap is an option of extract and serve/],
	[['capture', '--stall-timeout', '2147484'], /2147484 is no number of seconds: 0 \(never\), or .*2147483/],
	[['serve', '--criu-clients', '1000001'], /1000001 is no number of connections from 1 to 1000000/],
	[['serve', '--memory-limit', '8192T'], /8192T is no size from 0 to 9007199254740991 bytes/],
	[['serve', '--tcp-listen-remap', '80'], /80 is not old:new/],
	[['serve', '--tcp-listen-remap', '80:65536'], /80:65536 is not old:new/],
	[['serve', '--tcp-listen-remap', '80:81,80:82'], /port 80 is given twice/],
];
for (const [args, message] of wrong) {
	test(`exit 2: ${args.join(' ').slice(0, 60) || 'no arguments'}`, async () => {
		const { end, stdout, stderr, made } = await run(...args);
		assert.is(end, 'exit code 2', stderr);
		assert.is(stdout, '');
		assert.match(stderr, /^criu-image-streamer: [^\n]+\nTry 'criu-image-streamer --help'\.\n$/);
		assert.match(stderr, message);
		assert.equal(made, []);
	});
}

test('--version is that of the package', async () => {
	const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
	for (const args of [['--version'], ['capture', '--version']])
		assert.equal(await run(...args), { end: 'exit code 0', stdout: `${version}\n`, stderr: '', made: [] });
});

test('--help names the commands, and capture --help its options', async () => {
	const { end, stdout, stderr } = await run('--help');
	assert.is(end, 'exit code 0');
	assert.is(stderr, '');
	for (const command of ['capture', 'extract', 'serve'])
		assert.match(stdout, `criu-image-streamer ${command}`);
	const capture = await run('capture', '--help');
	assert.is(capture.end, 'exit code 0');
	for (const option of [
		'--work-dir',
		'--images-dir',
		'--shard-fds',
		'--ext-file-fds',
		'--progress-fd',
		'--zero-copy',
	])
		assert.match(capture.stdout, option);
	assert.not.match(capture.stdout, '--tcp-listen-remap');
	assert.match((await run('serve', '--help')).stdout, '--tcp-listen-remap');
});

const places: [where: string, args: (work: string) => string[]][] = [
	['before the command', (work) => ['--work-dir', work, '--progress-fd', '3', 'capture']],
	['after the command', (work) => ['capture', '--work-dir', work, '--progress-fd', '3']],
	['on both sides', (work) => ['-W', work, 'capture', '-p', '3']],
	['with an equals sign', (work) => [`--work-dir=${work}`, 'capture', '--progress-fd=3']],
];
for (const [where, args] of places) {
	test(`options ${where}`, async () => {
		const work = join(temporaryDirectory(), 'work');
		const [out, progress] = [pipe(), pipe()];
		const process = new Streamer(args(work), { stdout: out.writeEnd, fds: [progress.writeEnd] });
		const got = out.readEnd.all();
		await (await StandInDump.connect({ work, process })).finish({ 'a.img': 'a' });
		assert.is(await process.ends(), '');
		assert.ok((await got).includes('inventory.img'));
		assert.match((await progress.readEnd.all()).toString(), /^socket-init\n/);
	});
}

test('without options, the sockets are in the current directory', async () => {
	const cwd = temporaryDirectory();
	const out = pipe();
	const process = new Streamer(['capture'], { stdout: out.writeEnd, cwd });
	const got = out.readEnd.count();
	await (await StandInDump.connect({ work: cwd, process })).finish();
	await process.ends();
	assert.ok((await got) > 0);
	assert.equal(namesIn(cwd), []);
});

test('exit 1: a file in place of the images dir', async () => {
	const file = join(temporaryDirectory(), 'file');
	writeFileSync(file, '');
	const process = new Streamer(['extract', '-D', file], { stdin: pipeOf(stream) });
	assert.match(await process.ends(1), new RegExp(`^criu-image-streamer: [^\\n]*${file}[^\\n]*\\n$`));
});

test('exit 1: a file in place of the work dir', async () => {
	const file = join(temporaryDirectory(), 'file');
	writeFileSync(file, '');
	const out = pipe();
	const process = new Streamer(['capture', '-W', file], { stdout: out.writeEnd });
	assert.match(await process.ends(1), new RegExp(`^criu-image-streamer: [^\\n]*${file}[^\\n]*\\n$`));
});

test('exit 0, and nothing on stdout, where the image goes to files', () => {
	const [command, ...first] = ours;
	const images = join(temporaryDirectory(), 'images');
	const result = spawnSync(command, [...first, 'extract', '-D', images], {
		...LIMIT,
		input: stream,
		encoding: 'utf8',
	});
	assert.is(result.status, 0, result.stderr);
	assert.is(result.stdout, '');
	assert.equal(namesIn(images), ['a.img']);
});

for (const [command, end, right] of [
	['capture', 'stdout', /capture … \| ssh host criu-image-streamer extract/],
	['extract', 'stdin', /ssh host criu-image-streamer capture … \| criu-image-streamer extract/],
	['serve', 'stdin', /\| criu-image-streamer (extract|serve)/],
] as const) {
	test(`${command} refuses a terminal, and shows the right use`, () => {
		need('script');
		const work = temporaryDirectory();
		const shell = `${ours.map((word) => `'${word}'`).join(' ')} ${command} -W '${work}'`;
		const { status, stdout } = spawnSync('script', ['-qec', shell, '/dev/null'], {
			...LIMIT,
			stdio: ['ignore', 'pipe', 'pipe'],
			encoding: 'utf8',
		});
		assert.is(status, 2, stdout);
		assert.match(stdout, `criu-image-streamer: ${end} is a terminal`);
		assert.match(stdout, right);
		assert.equal(namesIn(work), []);
	});
}

test.run();

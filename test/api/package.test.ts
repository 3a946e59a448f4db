/** The package as a program imports it: from the tarball, by JavaScript and by TypeScript. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { content } from '../support/content.js';
import { namesIn, StandInDump, StandInRestore } from '../support/stand-in.js';
import { Streamer } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { installed, link } from './package.js';

const test = suite('package');
const root = fileURLToPath(new URL('../..', import.meta.url));
/** The directory in which the package is installed, once for all tests because npm is slow. */
let directory: string;
test.before(() => {
	directory = installed();
});
test.after(() => rmSync(directory, { recursive: true }));

const [example] = readFileSync(join(root, 'docs/api.md'), 'utf8').match(/(?<=```js\n).*?(?=```)/s) ?? [];

test('an import opens nothing, loads no native code, installs no handlers and says nothing', () => {
	const program = `
		import { readdirSync, readFileSync } from 'node:fs';
		const state = () => ({
			fds: readdirSync('/proc/self/fd').length,
			native: /koffi/.test(readFileSync('/proc/self/maps', 'utf8')),
			events: process.eventNames().map((name) => [String(name), process.listenerCount(name)]),
		});
		// Loading any module has effects that are not the package's.
		await import('node:url');
		const before = state();
		const names = Object.keys(await import('criu-pipe-streamer'));
		console.log(JSON.stringify({ before, after: state(), names }));`;
	writeFileSync(join(directory, 'import.mjs'), program);
	const { stdout, stderr } = spawnSync(process.execPath, ['import.mjs'], {
		cwd: directory,
		encoding: 'utf8',
		timeout: 60_000,
	});
	assert.is(stderr, '');
	const { before, after, names } = JSON.parse(stdout);
	assert.equal(after, before);
	assert.is(after.native, false);
	assert.equal(names.sort(), ['StreamError', 'capture', 'extract', 'serve']);
});

test('the example of docs/api.md takes a dump, serves it and unpacks it', async () => {
	writeFileSync(join(directory, 'stream.mjs'), example!);
	const start = (what: string, where: string) =>
		new Streamer([join(directory, 'stream.mjs'), what, join(directory, where), join(directory, 'image')], {
			program: [process.execPath],
			cwd: directory,
		});
	const pages = content(1, 300_000);

	const work = join(directory, 'dump');
	const capture = start('capture', 'dump');
	const dump = await StandInDump.connect({ work, process: capture });
	await dump.put('pages-1.img', pages);
	await dump.finish();
	assert.is(await capture.ends(), '');

	const serve = start('serve', 'restore');
	const restore = await StandInRestore.connect({ work: join(directory, 'restore'), process: serve });
	assert.ok((await restore.read('pages-1.img'))?.equals(pages));
	restore.close();
	assert.is(await serve.ends(), '');

	const extract = start('extract', 'files');
	assert.is(await extract.ends(), '');
	assert.equal(namesIn(join(directory, 'files')), ['inventory.img', 'pages-1.img']);
	assert.ok(readFileSync(join(directory, 'files/pages-1.img')).equals(pages));

	const again = start('extract', 'files');
	assert.match(
		await again.ends(1),
		/^FILE_EXISTS: .*\.img exists: choose an empty directory \(imagesDir\), or say overwrite/,
	);
});

test('types accept a correct program, and reject invalid options', () => {
	link(join(directory, 'node_modules'), '@types/node');
	// A dependency of @types/node.
	link(join(directory, 'node_modules'), 'undici-types');
	mkdirSync(join(directory, 'src'));
	writeFileSync(
		join(directory, 'src/program.mts'),
		`import { capture, type CaptureOptions, type ErrorCode, extract, serve, StreamError, type Summary } from 'criu-pipe-streamer';

const { signal } = new AbortController();
const options: CaptureOptions = { workDir: '/run/dump', shardFds: [3, 4], zeroCopy: 'auto', extFileFds: { 'fs.tar': 5 }, log: console, signal };
const summary: Summary = await capture(options);
const bytes: number = summary.shards.reduce((sum, shard) => sum + shard.bytes, 0);
await serve({ workDir: '/run/restore', listen: ['tcp://127.0.0.1:7000'], shards: 2, tcpListenRemap: { 80: 8080 }, memoryLimit: '4G' });
await extract({ imagesDir: 'images', connect: ['unix:/run/stream'], onProgress: (event) => console.log(event === 'ready', bytes) });
// @ts-expect-error: a stream travels one way
await capture({ workDir: '.', shardFds: [3], connect: ['unix:/run/stream'] });
// @ts-expect-error: files need a directory
await extract({ shardFds: [3] });
// @ts-expect-error: an option of serve
await capture({ workDir: '.', shardFds: [3], keep: true });
export const code = (error: unknown): ErrorCode | undefined => (error instanceof StreamError ? error.code : undefined);
`,
	);
	const tsc = join(root, 'node_modules/typescript/bin/tsc');
	const options = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--target', 'es2023'];
	const module = ['--module', 'nodenext', '--types', 'node', 'src/program.mts'];
	const { status, stdout } = spawnSync(process.execPath, [tsc, ...options, ...module], {
		cwd: directory,
		encoding: 'utf8',
		timeout: 120_000,
	});
	assert.is(stdout, '');
	assert.is(status, 0);
});

test.run();

// A streamer leaves nothing behind at any end, and the leftovers of a crash do not affect the next one.
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { data, file, streamOf, whole } from '../support/markers.js';
import { pipe, pipeOf } from '../support/pipe.js';
import { namesIn, StandInDump } from '../support/stand-in.js';
import { Streamer, startCapture } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';
import { appears, CAPTURE, SERVE, smallStream } from './service.js';

const test = suite('signals and leftovers');
const signals = [
	['SIGHUP', 129],
	['SIGINT', 130],
	['SIGTERM', 143],
] as const;

for (const [signal, code] of signals) {
	test(`${signal} ends a capture that waits for CRIU`, async () => {
		const { process, work } = startCapture({ args: ['--pidfile', 'pid'] });
		await appears(work, CAPTURE);
		process.kill(signal);
		assert.is(await process.ends(code), 'socket-init\n');
		assert.equal(namesIn(work), []);
	});

	test(`${signal} ends a replay that waits for CRIU`, async () => {
		const work = temporaryDirectory();
		const serve = new Streamer(['-W', work, 'serve'], { stdin: pipeOf(smallStream()) });
		await appears(work, SERVE);
		serve.kill(signal);
		await serve.ends(code);
		assert.equal(namesIn(work), []);
	});

	test(`${signal} ends a replay whose stream does not come`, async () => {
		const work = temporaryDirectory();
		const { readEnd } = pipe();
		const serve = new Streamer(['-W', work, '--pidfile', 'pid', 'serve'], { stdin: readEnd });
		await appears(work, 'pid');
		serve.kill(signal);
		await serve.ends(code);
		assert.equal(namesIn(work), []);
	});

	test(`${signal} ends an extract to disk, whose incomplete files have no names`, async () => {
		const directory = temporaryDirectory();
		const images = join(directory, 'images');
		const { readEnd, writeEnd } = pipe();
		const extract = new Streamer(['-W', directory, '-D', images, 'extract'], { stdin: readEnd });
		// More than the pipe holds: when it is written, files are being created.
		const half = data(Buffer.alloc(8 << 20), 16 << 20);
		await writeEnd.write(streamOf(...whole('first.img', 'x'.repeat(100_000)), file('second.img'), half));
		extract.kill(signal);
		await extract.ends(code);
		assert.equal(namesIn(images), []);
	});

	test(`${signal} ends a capture whose reader has stopped reading`, async () => {
		const { process, work } = startCapture();
		const dump = await StandInDump.connect(work);
		const pages = await dump.file('pages-1.img');
		const writing = pages.write(Buffer.alloc(16 << 20)).catch(() => 'interrupted');
		await process.line('checkpoint-start');
		process.kill(signal);
		await process.ends(code);
		assert.is(await writing, 'interrupted');
		assert.equal(namesIn(work), []);
	});
}

test('a socket that a crash left is replaced', async () => {
	const first = startCapture();
	await appears(first.work, CAPTURE);
	first.process.kill('SIGKILL');
	await first.process.end;
	assert.ok(namesIn(first.work).includes(CAPTURE));
	const second = startCapture({ work: first.work });
	const stream = second.shards[0]!.all();
	const dump = await StandInDump.connect(first.work);
	await dump.finish();
	await second.process.ends();
	await stream;
	assert.equal(namesIn(first.work), []);
});

test('a socket in use is refused, with the process that has it, and stays in use', async () => {
	const first = startCapture();
	await appears(first.work, CAPTURE);
	const second = startCapture({ work: first.work });
	const path = join(first.work, CAPTURE);
	assert.is(
		await second.process.ends(1),
		`criu-image-streamer: ${path} is in use by process ${first.process.pid} (node): end it, or choose another --work-dir\n`,
	);
	const stream = first.shards[0]!.all();
	const dump = await StandInDump.connect(first.work);
	await dump.finish();
	await first.process.ends();
	await stream;
});

test('a replay detects that the socket is in use before it has read the stream', async () => {
	const work = temporaryDirectory();
	const first = new Streamer(['-W', work, 'serve'], { stdin: pipeOf(smallStream()) });
	await appears(work, SERVE);
	const second = new Streamer(['-W', work, 'serve'], { stdin: pipe().readEnd });
	assert.match(await second.ends(1), `is in use by process ${first.pid} `);
});

test('of several that start at once one gets the socket', async () => {
	const work = temporaryDirectory();
	const captures = Array.from({ length: 4 }, () => startCapture({ work }));
	const all = captures.map(({ process }) => process);
	const streams = Promise.all(captures.map(({ shards }) => shards[0]!.all()));
	const losers = () => all.filter(({ ended }) => ended === 'exit code 1');
	await until('three that are refused', () => losers().length === 3);
	const dump = await StandInDump.connect(work);
	await dump.finish();
	const ended = await Promise.all(all.map(({ end }) => end));
	await streams;
	assert.equal(ended.sort(), ['exit code 0', 'exit code 1', 'exit code 1', 'exit code 1']);
});

test('a file that is not a socket is left alone', async () => {
	const work = temporaryDirectory();
	writeFileSync(join(work, CAPTURE), 'precious');
	const { process } = startCapture({ work });
	assert.match(await process.ends(1), 'exists and is not a socket');
	assert.equal(readdirSync(work), [CAPTURE]);
});

test('an unexpected error is one line and status 1, and leaves nothing', async () => {
	const work = temporaryDirectory();
	const module = fileURLToPath(new URL('../../src/runtime/cleanup.ts', import.meta.url));
	const log = fileURLToPath(new URL('../../src/report/log.ts', import.meta.url));
	for (const how of ['setTimeout(() => { throw error })', 'Promise.reject(error)']) {
		const code = `import { writeFileSync } from 'node:fs';
			import { installExitHandlers, registerCleanup } from ${JSON.stringify(module)};
			import { sayLine } from ${JSON.stringify(log)};
			installExitHandlers(sayLine);
			const path = ${JSON.stringify(join(work, 'leftover'))};
			registerCleanup(path);
			writeFileSync(path, '');
			const error = new Error('something\\nunexpected', { cause: new Error('a cause') });
			${how};
			setInterval(() => {}, 1000);`;
		const program = [process.execPath, '--import', 'tsx', '--input-type=module', '-e', code] as const;
		const child = new Streamer([], { program, cwd: fileURLToPath(new URL('../..', import.meta.url)) });
		assert.is(await child.ends(1), 'criu-image-streamer: something unexpected: a cause\n');
		assert.equal(namesIn(work), []);
	}
});

test.run();

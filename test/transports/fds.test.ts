import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { fcntl, pipe2, socket } from '../../src/libc/calls.js';
import { AF_UNIX, F_GETFL, F_SETFL, O_CLOEXEC, O_NONBLOCK } from '../../src/libc/constants.js';
import { acceptUnix, connectUnix, listenUnix } from '../../src/net/unix-socket.js';
import { bundled } from '../support/bundled.js';
import { afterwards } from '../support/cleanup.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { tool } from '../support/tools.js';

const test = suite('shards that are descriptors');

const CHILD = bundled(fileURLToPath(new URL('fds-child.ts', import.meta.url)));

interface Result {
	error?: string;
	usage?: boolean;
	names?: string[];
	read?: string[];
}

function owned(fd: number): number {
	assert.ok(fd >= 0, `a descriptor, not ${fd}`);
	afterwards(() => {
		try {
			closeSync(fd);
		} catch {
			// The test has closed it.
		}
	});
	return fd;
}

/** A blocking pipe, as a shell creates it. */
function pipe(): { readEnd: number; writeEnd: number } {
	const ends = new Int32Array(new ArrayBuffer(8));
	assert.is(pipe2(ends, O_CLOEXEC), 0);
	return { readEnd: owned(ends[0]!), writeEnd: owned(ends[1]!) };
}

function connectedPair(): [number, number] {
	const path = join(temporaryDirectory(), 'socket');
	const listening = owned(listenUnix(path, 'table'));
	const client = owned(connectUnix(path));
	return [client, owned(acceptUnix(listening))];
}

function start(
	args: string[],
	stdio: StdioOptions,
	hold = false,
): { child: ChildProcess; result: Promise<Result> } {
	const file = join(temporaryDirectory(), 'result');
	const env = { ...process.env, RESULT: file, ...(hold ? { HOLD: '1' } : {}) };
	const child = spawn(process.execPath, [CHILD, ...args], { stdio, env });
	afterwards(() => child.kill('SIGKILL'));
	const result = new Promise<Result>((resolve, reject) => {
		child.on('error', reject);
		child.on('exit', (code, signal) => {
			if (code === 0) resolve(JSON.parse(readFileSync(file, 'utf8')));
			else reject(new Error(`the child ended with ${code ?? signal}`));
		});
	});
	return { child, result };
}

function run(args: string[], stdio: StdioOptions): Promise<Result> {
	return start(args, stdio).result;
}

function file(text: string): string {
	const path = join(temporaryDirectory(), 'file');
	writeFileSync(path, text);
	return path;
}

async function refusal(args: string[], stdio: StdioOptions): Promise<string> {
	const { error, usage } = await run(args, stdio);
	assert.ok(error, 'it is refused');
	assert.is(usage, true, 'as wrong usage');
	return error;
}

test('a pipe, a socket and a file carry a capture, each under its name', async () => {
	const path = file('');
	const { readEnd, writeEnd } = pipe();
	const [ours, theirs] = connectedPair();
	const fd = owned(openSync(path, 'w'));
	const { result } = start(['capture', '3,4,5'], ['ignore', 'ignore', 'inherit', writeEnd, theirs, fd]);
	closeSync(writeEnd);
	assert.is(await readToEnd(readEnd), 'through shard fd 3');
	// It ends, although another process (this one) has the socket open as well.
	assert.is(await readToEnd(ours), 'through shard fd 4');
	assert.equal((await result).names, ['shard fd 3', 'shard fd 4', 'shard fd 5']);
	assert.is(readFileSync(path, 'utf8'), 'through shard fd 5');
});

test('by default a capture writes to stdout, and an extract reads from stdin', async () => {
	const path = file('');
	assert.equal((await run(['capture'], ['ignore', owned(openSync(path, 'w')), 'inherit'])).names, ['stdout']);
	assert.is(readFileSync(path, 'utf8'), 'through stdout');
	const { names, read } = await run(['extract'], [owned(openSync(path, 'r')), 'ignore', 'inherit']);
	assert.equal(names, ['stdin']);
	assert.equal(read, ['through stdout']);
});

test('a pipe, a socket and a file are read to their end', async () => {
	const { readEnd, writeEnd } = pipe();
	const [ours, theirs] = connectedPair();
	const fd = owned(openSync(file('from a file'), 'r'));
	const { result } = start(['extract', '3,4,5'], ['ignore', 'ignore', 'inherit', readEnd, theirs, fd]);
	writeFileSync(writeEnd, 'from a pipe');
	closeSync(writeEnd);
	writeFileSync(ours, 'from a socket');
	closeSync(ours);
	assert.equal((await result).read, ['from a pipe', 'from a socket', 'from a file']);
});

test('a file is read and written from its current position', async () => {
	const path = file('0123456789');
	const reading = owned(openSync(path, 'r'));
	readSync(reading, Buffer.alloc(4));
	assert.equal((await run(['extract', '3'], ['ignore', 'ignore', 'inherit', reading])).read, ['456789']);
	const appending = owned(openSync(path, 'a'));
	await run(['capture', '3'], ['ignore', 'ignore', 'inherit', appending]);
	assert.is(readFileSync(path, 'utf8'), '0123456789through shard fd 3');
});

test('a reader gets the end when the stream is delivered, not when the process ends', async () => {
	const { readEnd, writeEnd } = pipe();
	const { child, result } = start(['capture', '3'], ['pipe', 'ignore', 'inherit', writeEnd], true);
	closeSync(writeEnd);
	// The child waits for the end of its stdin: this would never return if it held its pipe.
	assert.is(await readToEnd(readEnd), 'through shard fd 3');
	assert.is(child.exitCode, null);
	child.stdin!.end();
	await result;
});

function setBlocking(fd: number): void {
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL, 0) & ~O_NONBLOCK);
}

/** Reads with a child process, because the test's own descriptors may be blocking or not. */
async function readToEnd(fd: number): Promise<string> {
	setBlocking(fd);
	const cat = spawn('cat', { stdio: [fd, 'pipe', 'inherit'] });
	afterwards(() => cat.kill('SIGKILL'));
	let text = '';
	for await (const chunk of cat.stdout!) text += chunk;
	return text;
}

test('a blocking pipe is blocking again afterwards, for the processes that share it', async () => {
	const { readEnd, writeEnd } = pipe();
	const { result } = start(['capture', '3'], ['ignore', 'ignore', 'inherit', writeEnd]);
	const reader = spawn('head', ['-c', String('through shard fd 3'.length)], {
		stdio: [readEnd, 'ignore', 'inherit'],
	});
	afterwards(() => reader.kill('SIGKILL'));
	assert.is((await result).error, undefined);
	assert.is(fcntl(writeEnd, F_GETFL, 0) & O_NONBLOCK, 0);
	assert.match(await refusal(['capture', '3,9'], ['ignore', 'ignore', 'inherit', writeEnd]), /fd 9/);
	assert.is(fcntl(writeEnd, F_GETFL, 0) & O_NONBLOCK, 0);
});

const refusals: [what: string, command: string, open: () => number, expected: RegExp][] = [
	['a directory', 'capture', () => openSync('/tmp', 'r'), /fd 3 is a directory/],
	['a device', 'capture', () => openSync('/dev/null', 'w'), /fd 3 is a device/],
	['a file for reading', 'capture', () => openSync(file(''), 'r'), /fd 3 is open for reading only: 3>/],
	['a file for writing', 'extract', () => openSync(file(''), 'w'), /fd 3 is open for writing only: 3</],
	['the read end of a pipe', 'capture', () => pipe().readEnd, /fd 3 is open for reading only/],
	['the write end of a pipe', 'extract', () => pipe().writeEnd, /fd 3 is open for writing only/],
	['a datagram socket', 'capture', () => socket(AF_UNIX, 2, 0), /fd 3 is a socket of messages/],
	['a seqpacket socket', 'extract', () => socket(AF_UNIX, 5, 0), /fd 3 is a socket of messages/],
	[
		'a listening socket',
		'extract',
		() => listenUnix(join(temporaryDirectory(), 's'), 'table'),
		/fd 3 is a socket that listens.*--listen/,
	],
];
for (const [what, command, open, expected] of refusals) {
	test(`${what} cannot carry ${command === 'capture' ? 'a capture' : 'an extract'}`, async () => {
		const fd = owned(open());
		assert.match(await refusal([command, '3'], ['ignore', 'ignore', 'inherit', fd]), expected);
	});
}

test('a number that was not passed is refused, whatever Node uses it for', async () => {
	const numbers = Array.from({ length: 30 }, (_, i) => i + 3);
	const results = await Promise.all(
		['capture', 'extract'].map((command) => refusal([command, '999'], ['ignore', 'ignore', 'inherit'])),
	);
	for (const error of results) assert.match(error, /fd 999 is not open: it has to be a pipe/);
	// In groups, whose first invalid descriptor is refused; none must be mistaken for a pipe of the user.
	for (let at = 0; at < numbers.length; at += 10) {
		const some = numbers.slice(at, at + 10).join(',');
		assert.match(await refusal(['extract', some], ['ignore', 'ignore', 'inherit']), /^shard fd \d+ is /);
	}
});

test('a closed stdin is not read as an empty stream', async () => {
	assert.match(
		await refusal(['extract'], ['ignore', 'ignore', 'inherit']),
		/^stdin is closed, or \/dev\/null/,
	);
});

test('two shards with the same pipe are refused, under any numbers', async () => {
	const { writeEnd } = pipe();
	const error = await refusal(['capture', '3,4'], ['ignore', 'ignore', 'inherit', writeEnd, writeEnd]);
	assert.is(error, 'shard fd 3 and shard fd 4 are the same thing; each shard needs its own');
});

test('progress that would end up in the image is refused', async () => {
	const { writeEnd } = pipe();
	const error = await refusal(['capture', '', '3'], ['ignore', writeEnd, 'inherit', writeEnd]);
	assert.match(error, /^fd 3, where progress goes, leads into stdout/);
});

test('a terminal is refused, with a correct example', async () => {
	const result = join(temporaryDirectory(), 'result');
	for (const [command, expected] of [
		['capture', /^stdout is a terminal.* capture … \| ssh host criu-image-streamer extract$/],
		[
			'extract',
			/^stdin is a terminal.*ssh host criu-image-streamer capture … \| criu-image-streamer extract$/,
		],
	] as const) {
		const line = `'${process.execPath}' '${CHILD}' ${command}`;
		const script = spawn(tool('script'), ['-qec', line, '/dev/null'], {
			stdio: 'ignore',
			env: { ...process.env, RESULT: result },
		});
		afterwards(() => script.kill('SIGKILL'));
		await new Promise((resolve, reject) => script.on('exit', resolve).on('error', reject));
		const { error, usage } = JSON.parse(readFileSync(result, 'utf8')) as Result;
		assert.match(error ?? '', expected);
		assert.is(usage, true);
	}
});

test.run();

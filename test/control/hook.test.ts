/**
 * The action script: CRIU continues when the streamer is ready, and the application dies only when the stream is delivered.
 * The script is run as CRIU runs it; the streamer's side is its control server.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
	closeSync,
	copyFileSync,
	existsSync,
	mkdirSync,
	openSync,
	readdirSync,
	readlinkSync,
	statSync,
	symlinkSync,
	writeFileSync,
} from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import type { Role } from '../../src/control/paths.js';
import { type ControlServer, serveControl } from '../../src/control/server.js';
import { afterwards } from '../support/cleanup.js';
import { openDescriptors } from '../support/descriptors.js';
import { HOOK } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';
import { imageDir, run, Script } from './script.js';

const test = suite('action script');

/** CRIU_STREAMER_TIMEOUT of scripts whose timeout is tested; all others have the default of 10 minutes. */
const SHORT_TIMEOUT = '0.2';

/** The control server of a streamer in `dir`. */
function streamer(dir: string, role: Role = 'capture'): ControlServer {
	const server = serveControl(dir, role);
	afterwards(() => server.close());
	return server;
}

/** The control server of a capture to which this process is connected: it acts as CRIU for the scripts that it starts. */
function connected(dir: string): ControlServer {
	const server = streamer(dir);
	server.connected(process.pid);
	return server;
}

/** Resolves when a script waits for an answer. */
async function asked(server: ControlServer): Promise<void> {
	await until('a question', () => server.waiting > 0);
}

test('other actions end at once, without starting Node', async () => {
	const dir = temporaryDirectory();
	const bin = temporaryDirectory();
	const mark = join(bin, 'started');
	writeFileSync(join(bin, 'node'), `#!/bin/sh\n: >${mark}\n`, { mode: 0o755 });
	for (const action of ['pre-dump', 'network-lock', 'network-unlock', 'setup-namespaces', 'post-restore']) {
		await new Script(action, imageDir(dir), { PATH: bin }).succeeds();
	}
	assert.is(existsSync(mark), false);
	await new Script('post-dump', imageDir(dir), { PATH: bin }).succeeds();
	assert.is(existsSync(mark), true, 'this test would have noticed a Node');
});

test('started by hand, the script fails with a hint to --action-script', async () => {
	const { code, stderr } = await new Script(undefined, '').end;
	assert.is(code, 2);
	assert.match(stderr, /^criu-image-streamer: [^\n]*--action-script[^\n]*\n$/);
});

test('pre-stream: the streamer is ready', async () => {
	for (const role of ['capture', 'serve'] as const) {
		const dir = temporaryDirectory();
		streamer(dir, role).criuSocketReady();
		await run('pre-stream', dir).succeeds();
	}
});

test('pre-stream: the streamer starts later, and is ready even later', async () => {
	for (const role of ['capture', 'serve'] as const) {
		const dir = temporaryDirectory();
		const script = run('pre-stream', dir);
		await until('the script runs', () => isNode(script.child.pid!));
		assert.is(script.ended, false);
		const server = streamer(dir, role);
		await asked(server);
		assert.is(script.ended, false);
		server.criuSocketReady();
		await script.succeeds();
	}
});

test('pre-stream: a capture and a serve in one directory, one of them ready', async () => {
	const dir = temporaryDirectory();
	const serve = streamer(dir, 'serve');
	streamer(dir, 'capture').criuSocketReady();
	await run('pre-stream', dir).succeeds();
	assert.is(serve.waiting, 0);
});

test('pre-stream: each side waits for its own streamer', async () => {
	for (const [command, own, other] of [
		['dump', 'capture', 'serve'],
		['restore', 'serve', 'capture'],
	] as const) {
		const dir = temporaryDirectory();
		streamer(dir, other).criuSocketReady();
		const criu = await pretendCriu(command, dir);
		const script = new Script('pre-stream', criu.imageDir);
		const server = streamer(dir, own);
		await asked(server);
		assert.is(script.ended, false);
		server.criuSocketReady();
		await script.succeeds();
	}
});

test('pre-stream: the streamer failed, or died', async () => {
	const dir = temporaryDirectory();
	const serve = streamer(dir, 'serve');
	const script = run('pre-stream', dir);
	await asked(serve);
	serve.fail('the stream is damaged');
	await script.fails(/extract/, /the stream is damaged/);
	await serve.close();

	const capture = streamer(dir);
	const second = run('pre-stream', dir);
	await asked(capture);
	await capture.close();
	await second.fails(/capture/, /the streamer was stopped/);
});

test('pre-stream: no streamer starts', async () => {
	const dir = temporaryDirectory();
	await run('pre-stream', dir, { CRIU_STREAMER_TIMEOUT: SHORT_TIMEOUT }).fails(
		/not ready/,
		/within 0\.2 s/,
		new RegExp(dir),
		/CRIU_STREAMER_TIMEOUT/,
	);
});

test('post-dump: the stream is already delivered', async () => {
	const dir = temporaryDirectory();
	const server = connected(dir);
	server.finish();
	await run('post-dump', dir).succeeds();
	await run('post-dump', dir).succeeds();
});

test('post-dump: waits until the stream is delivered', async () => {
	const dir = temporaryDirectory();
	const server = connected(dir);
	server.criuSocketReady();
	const script = run('post-dump', dir);
	await asked(server);
	assert.is(script.ended, false);
	server.finish();
	await script.succeeds();
	assert.is(server.givenUp.aborted, false);
});

test('post-dump: a question is answered although the streamer ends right away', async () => {
	for (let i = 0; i < 5; i++) {
		const dir = temporaryDirectory();
		const server = connected(dir);
		const script = run('post-dump', dir);
		await asked(server);
		server.finish();
		await server.close();
		await script.succeeds();
		assert.equal(readdirSync(dir), []);
	}
});

test('post-dump: the capture failed, before the question or after it', async () => {
	const dir = temporaryDirectory();
	const server = connected(dir);
	const script = run('post-dump', dir);
	await asked(server);
	server.fail('cannot write to stdout: no space left\non device');
	await script.fails(/cannot write to stdout: no space left on device/, /goes on running/);
	await run('post-dump', dir).fails(/no space left/);
	server.finish();
	await run('post-dump', dir).fails(/no space left/);
});

test('post-dump: a failure after the stream was delivered is ignored', async () => {
	const dir = temporaryDirectory();
	const server = connected(dir);
	server.finish();
	server.fail('too late');
	await run('post-dump', dir).succeeds();
});

test('post-dump: there is no capture', async () => {
	const dir = temporaryDirectory();
	await run('post-dump', dir).fails(/no capture is in/, new RegExp(dir), /goes on running/);
	// A streamer for a restore does not count.
	streamer(dir, 'serve').finish();
	await run('post-dump', dir).fails(/no capture is in/);
});

test('post-dump: the capture died, and left its socket', async () => {
	const dir = temporaryDirectory();
	const capture = await captureProcess(dir);
	const script = run('post-dump', dir);
	await until('a question', () => capture.output.includes('asked'));
	capture.child.kill('SIGKILL');
	await script.fails(/was ended before the stream was out/, /goes on running/);
	assert.is(existsSync(join(dir, 'streamer-capture-control.sock')), true);
	await run('post-dump', dir).fails(/no capture is in/);
	// The next capture takes its place.
	connected(dir).finish();
	await run('post-dump', dir).succeeds();
});

test('post-dump: a timeout, after which the stream must not be completed', async () => {
	const dir = temporaryDirectory();
	const server = connected(dir);
	await run('post-dump', dir, { CRIU_STREAMER_TIMEOUT: SHORT_TIMEOUT }).fails(
		/not out within 0\.2 s/,
		/CRIU_STREAMER_TIMEOUT/,
		/goes on running/,
	);
	assert.is(server.givenUp.aborted, true);
	assert.match((server.givenUp.reason as Error).message, /the application runs on/);
	assert.throws(() => server.finish(), /the application runs on/);
	await run('post-dump', dir).fails(/the application runs on/);
});

test('post-dump: a script that is killed gives up, too', async () => {
	const dir = temporaryDirectory();
	const server = connected(dir);
	const script = run('post-dump', dir);
	await asked(server);
	script.child.kill('SIGKILL');
	await until('the server notices', () => server.givenUp.aborted);
	assert.throws(() => server.finish(), /the application runs on/);
});

test('CRIU dies while its script waits', async () => {
	for (const action of ['pre-stream', 'post-dump']) {
		const dir = temporaryDirectory();
		const server = connected(dir);
		const criu = await pretendCriu('dump', dir);
		const script = new Script(action, criu.imageDir);
		await asked(server);
		criu.child.kill('SIGKILL');
		await script.fails(/before CRIU was gone/);
		assert.is(server.givenUp.aborted, action === 'post-dump');
	}
});

test('a timeout that is not a number', async () => {
	for (const seconds of ['0', '-1', 'ten', '1e300', 'NaN', '0.0009', '2147483.001']) {
		const dir = temporaryDirectory();
		connected(dir).finish();
		await run('post-dump', dir, { CRIU_STREAMER_TIMEOUT: seconds }).fails(
			/CRIU_STREAMER_TIMEOUT=.* is not a number of seconds from 0\.001 to 2147483/,
		);
	}
});

test('the longest timeout', async () => {
	const dir = temporaryDirectory();
	connected(dir).finish();
	await run('post-dump', dir, { CRIU_STREAMER_TIMEOUT: '2147483' }).succeeds();
});

test('a directory with a long path, and one with spaces', async () => {
	for (const name of ['x'.repeat(200), 'a b  c']) {
		const dir = join(temporaryDirectory(), name, 'y'.repeat(60));
		mkdirSync(dir, { recursive: true });
		const server = connected(dir);
		server.finish();
		server.criuSocketReady();
		await run('pre-stream', dir).succeeds();
		await run('post-dump', dir).succeeds();
		// Also where the directory is given by its path.
		await new Script('post-dump', dir).succeeds();
	}
});

test('started through links, as npm makes them, with Node beside them', async () => {
	const prefix = temporaryDirectory();
	const bin = join(prefix, 'a bin');
	mkdirSync(bin);
	symlinkSync(HOOK, join(prefix, 'first'));
	symlinkSync('../first', join(bin, 'criu-streamer-hook'));
	symlinkSync(process.execPath, join(bin, 'node'));
	const dir = temporaryDirectory();
	connected(dir).finish();
	const env = { PATH: '/nowhere', NODE_OPTIONS: '--require /nowhere.js' };
	await new Script('post-dump', imageDir(dir), env, join(bin, 'criu-streamer-hook')).succeeds();
});

test('a package without its build', async () => {
	const broken = join(temporaryDirectory(), 'scripts');
	mkdirSync(broken);
	const path = join(broken, 'criu-streamer-hook');
	copyFileSync(HOOK, path);
	await new Script('post-dump', imageDir(broken), {}, path).fails(
		/dist\/hook\.js is not there/,
		/npm run build/,
	);
});

test('the socket has mode 0600, and two streamers cannot share a work directory', () => {
	const dir = temporaryDirectory();
	const server = streamer(dir);
	assert.is(statSync(server.path).mode & 0o777, 0o600);
	assert.throws(() => serveControl(dir, 'capture'), new RegExp(`in use by process ${process.pid}`));
	assert.is(existsSync(server.path), true);
});

test('clients that misbehave do not affect others', async () => {
	const dir = temporaryDirectory();
	const server = connected(dir);
	const seen = imageDir(dir);
	const before = openDescriptors();
	const clients: Socket[] = [];
	const say = async (...bytes: number[]) => {
		const client = connect({ path: server.path, allowHalfOpen: true });
		clients.push(client);
		client.on('error', () => {});
		await once(client, 'connect');
		if (bytes.length) client.write(Buffer.from(bytes));
		return client;
	};
	const closed = (client: Socket) => until('the end', () => client.destroyed || client.readableEnded);
	// Lengths of 4 GB and of 65 bytes, an unknown question, an empty one, and bytes that are not a message.
	for (const bytes of [
		[255, 255, 255, 255],
		[65, 0, 0, 0, 10, 0],
		[2, 0, 0, 0, 0x1a, 0],
		[0, 0, 0, 0],
		[3, 0, 0, 0, 255, 255, 255],
	]) {
		const client = await say(...bytes);
		client.resume();
		await closed(client);
	}
	// Silent clients, and some that stop in the middle of a message.
	for (let i = 0; i < 10; i++) await say();
	for (let i = 0; i < 10; i++) await say(2, 0, 0);
	(await say(2, 0, 0)).end();
	const script = new Script('post-dump', seen);
	await asked(server);
	server.finish();
	await script.succeeds();
	assert.is(server.givenUp.aborted, false);
	// A client that keeps asking and reads no answer.
	const greedy = await say();
	greedy.pause();
	const question = Buffer.from([2, 0, 0, 0, 0x12, 0]);
	const flood = Buffer.concat(Array(10_000).fill(question));
	for (let i = 0; i < 100 && !greedy.destroyed && !greedy.errored; i++) {
		await new Promise((resolve) => greedy.write(flood, resolve));
	}
	assert.is(greedy.errored !== null || greedy.destroyed, true, 'it was disconnected');
	await new Script('post-dump', seen).succeeds();
	for (const client of clients) client.destroy();
	await until('every descriptor is closed', () => openDescriptors() <= before);
});

test('connections over the limit are closed', async () => {
	const dir = temporaryDirectory();
	const server = connected(dir);
	const clients: Socket[] = [];
	for (let i = 0; i < 100; i++) {
		const client = connect(server.path);
		client.on('error', () => {});
		clients.push(client);
		await once(client, 'connect');
	}
	await until(
		'the others to be disconnected',
		() => clients.filter(({ destroyed }) => destroyed).length >= 60,
	);
	for (const client of clients) client.destroy();
	server.finish();
	await run('post-dump', dir).succeeds();
});

test('a capture stays for the script as long as CRIU holds its connection', async () => {
	const dir = temporaryDirectory();
	const server = connected(dir);
	let criuCloses = () => {};
	const criuClosed = new Promise<void>((resolve) => (criuCloses = resolve));
	server.finish();
	let left = false;
	const lingering = server.linger(criuClosed).then(() => {
		left = true;
	});
	await run('post-dump', dir).succeeds();
	assert.is(left, false);
	criuCloses();
	await lingering;
	await server.close();
	assert.equal(readdirSync(dir), []);

	// After a failure the capture does not wait for CRIU.
	const failed = connected(dir);
	failed.fail('no space');
	await failed.linger(new Promise(() => {}));
	await run('post-dump', dir).fails(/no space/);
});

function isNode(pid: number): boolean {
	try {
		return readlinkSync(`/proc/${pid}/exe`) === process.execPath;
	} catch {
		return false;
	}
}

/** A process that holds `dir` open as CRIU does, with the command line of CRIU. */
async function pretendCriu(command: string, dir: string): Promise<{ child: ChildProcess; imageDir: string }> {
	const directory = temporaryDirectory();
	const loader = join(directory, 'ld-waits.so');
	symlinkSync('/bin/sh', loader);
	writeFileSync(join(directory, 'criu'), 'echo ready\nread line\n');
	const fd = openSync(dir, 'r');
	const child = spawn(loader, [join(directory, 'criu'), command, '--stream'], {
		stdio: ['pipe', 'pipe', 'ignore', fd],
	});
	closeSync(fd);
	const exit = once(child, 'exit');
	afterwards(async () => {
		child.kill('SIGKILL');
		await exit;
	});
	await once(child.stdout!, 'data');
	return { child, imageDir: `/proc/${child.pid}/fd/3` };
}

/** A control server in a separate process, which reports when it listens and when it is asked. */
async function captureProcess(dir: string): Promise<{ child: ChildProcess; output: string }> {
	const server = fileURLToPath(new URL('../../src/control/server.ts', import.meta.url));
	const program = `
		const { serveControl } = await import(${JSON.stringify(server)});
		const server = serveControl(${JSON.stringify(dir)}, 'capture');
		server.connected(process.ppid);
		console.log('up');
		setInterval(() => server.waiting && console.log('asked'), 10);`;
	const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
		cwd: fileURLToPath(new URL('../..', import.meta.url)),
		stdio: ['ignore', 'pipe', 'inherit'],
	});
	const exit = once(child, 'exit');
	afterwards(async () => {
		child.kill('SIGKILL');
		await exit;
	});
	const result = { child, output: '' };
	child.stdout!.setEncoding('utf8').on('data', (text) => (result.output += text));
	await until('the server', () => result.output.includes('up'));
	return result;
}

test.run();

/** CRIU's socket accepts only as many connections as are served: data written into any other would be lost. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { buffer, read } from '../../src/libc/calls.js';
import { EAGAIN, ECONNRESET, ENOENT, throwIfError } from '../../src/libc/errno.js';
import { poller } from '../../src/libc/poller.js';
import { connectUnix, listenUnix } from '../../src/net/unix-socket.js';
import { listener, smallStream } from '../daemon/service.js';
import { afterwards } from '../support/cleanup.js';
import { markersIn } from '../support/markers.js';
import { pipeOf } from '../support/pipe.js';
import { namesIn, StandInDump, StandInRestore } from '../support/stand-in.js';
import { Streamer, startCapture } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';

const test = suite('connections beyond those that are served');
const CAPTURE = 'streamer-capture.sock';
const SERVE = 'streamer-serve.sock';

/** The negative errno of a further connection to the socket at `path`. */
function further(path: string): number {
	const fd = connectUnix(path);
	if (fd >= 0) poller.close(fd);
	return fd;
}

/** Connects to `path`, and waits until the streamer disconnects. */
async function rejected(path: string): Promise<void> {
	const fd = throwIfError(connectUnix(path), 'connect');
	afterwards(() => poller.close(fd));
	const bytes = buffer(1);
	const end = () => [0, -ECONNRESET].includes(read(fd, bytes, 1));
	await until('the end of the connection', end, 20);
}

const connected = (path: string) => throwIfError(connectUnix(path), 'connect');

function isStopped(pid: number): boolean {
	return /^State:\s+T/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

test('while a capture is stopped, one dump waits for it, and no second one begins', async () => {
	const { process, work, shards } = startCapture();
	await process.line('socket-init');
	process.kill('SIGSTOP');
	await until('the capture to stop', () => isStopped(process.pid));
	const path = join(work, CAPTURE);
	const dump = new StandInDump(connected(path));
	assert.is(further(path), -EAGAIN);
	await dump.put('first.img', 'first');
	assert.is(further(path), -EAGAIN);
	process.kill('SIGCONT');
	await until('the socket to go', () => further(path) === -ENOENT);
	const stream = shards[0]!.all();
	await dump.finish();
	await process.ends();
	assert.equal(markersIn(await stream).at(0), '0 file first.img');
});

test('the socket of a capture is removed when CRIU has connected, and a new socket in its place stays', async () => {
	const { process, work, shards } = startCapture();
	const dump = await StandInDump.connect({ work, process });
	await until('the socket to go', () => !namesIn(work).includes(CAPTURE));
	const other = listenUnix(join(work, CAPTURE), 'table');
	afterwards(() => poller.close(other));
	const { process: second } = startCapture({ work });
	assert.match(await second.ends(1), `is in use by process ${globalThis.process.pid}`);
	const stream = shards[0]!.all();
	await dump.finish();
	await process.ends();
	await stream;
	assert.equal(namesIn(work), [CAPTURE]);
});

test('a second capture is refused during the dump of the first one', async () => {
	const { process, work, shards } = startCapture();
	const dump = await StandInDump.connect({ work, process });
	await until('the socket to go', () => !namesIn(work).includes(CAPTURE));
	const { process: second } = startCapture({ work });
	assert.match(await second.ends(1), `is in use by process ${process.pid}`);
	const stream = shards[0]!.all();
	await dump.finish();
	await process.ends();
	await stream;
});

test('a handed-over socket: other connections are closed as long as the capture runs', async () => {
	const { end, path } = listener();
	const { process, shards } = startCapture({ fds: [end], args: ['--criu-fd', '3'] });
	const dump = new StandInDump(connected(path));
	await dump.put('first.img', 'first');
	await rejected(path);
	const stream = shards[0]!.all();
	await dump.put('inventory.img', 'inventory');
	assert.match(markersIn(await stream).at(-1)!, 'image-end');
	// It stays for the action script until CRIU disconnects.
	await rejected(path);
	dump.close();
	await process.ends();
});

for (const keep of [[], ['--keep']]) {
	test(`as many restores as --criu-clients ${keep.join()} says, and no more`, async () => {
		const work = temporaryDirectory();
		const path = join(work, SERVE);
		const args = ['-W', work, '--criu-clients', '2', ...keep, 'serve'];
		const process = new Streamer(args, { stdin: pipeOf(smallStream()) });
		await process.line('socket-init');
		const one = new StandInRestore(connected(path));
		assert.equal(await one.read('inventory.img'), Buffer.alloc(0));
		assert.ok(namesIn(work).includes(SERVE));
		const two = new StandInRestore(connected(path));
		assert.equal(await two.read('inventory.img'), Buffer.alloc(0));
		assert.is(further(path), -ENOENT);
		one.close();
		assert.is(further(path), -ENOENT);
		two.close();
		await process.ends();
		assert.equal(namesIn(work), []);
	});
}

test('a handed-over socket with --criu-clients 2: the third connection is closed', async () => {
	const { end, path } = listener();
	const process = new Streamer(
		['-W', temporaryDirectory(), '--criu-fd', '3', '--criu-clients', '2', 'serve'],
		{
			stdin: pipeOf(smallStream()),
			fds: [end],
		},
	);
	const [one, two] = [new StandInRestore(connected(path)), new StandInRestore(connected(path))];
	for (const restore of [one, two]) assert.equal(await restore.read('inventory.img'), Buffer.alloc(0));
	await rejected(path);
	one.close();
	await rejected(path);
	two.close();
	await process.ends();
});

test.run();

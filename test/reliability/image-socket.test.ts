/** CRIU's socket takes as many connections as are served, and none that is not: what is written into that would be lost. */
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

/** What a further connection to the socket at `path` meets: a negative errno. */
function further(path: string): number {
	const fd = connectUnix(path);
	if (fd >= 0) poller.close(fd);
	return fd;
}

/** A connection to `path` is made, and ended by the streamer. */
async function turnedAway(path: string): Promise<void> {
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

test('while a capture stands still, one dump waits for it, and no second one begins', async () => {
	const { process, work, shards } = startCapture();
	await process.line('socket-init');
	process.kill('SIGSTOP');
	await until('the capture to stand still', () => isStopped(process.pid));
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

test('the socket of a capture goes when CRIU is there, and what another puts in its place stays', async () => {
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

test('a second capture is refused while the first one’s dump goes on', async () => {
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

test('a handed-over socket: others are turned away, for as long as the capture runs', async () => {
	const { end, path } = listener();
	const { process, shards } = startCapture({ fds: [end], args: ['--criu-fd', '3'] });
	const dump = new StandInDump(connected(path));
	await dump.put('first.img', 'first');
	await turnedAway(path);
	const stream = shards[0]!.all();
	await dump.put('inventory.img', 'inventory');
	assert.match(markersIn(await stream).at(-1)!, 'image-end');
	// It stays for the action script until CRIU leaves.
	await turnedAway(path);
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

test('a handed-over socket with --criu-clients 2: the third is turned away', async () => {
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
	await turnedAway(path);
	one.close();
	await turnedAway(path);
	two.close();
	await process.ends();
});

test.run();

// Sockets for CRIU that another process created: --criu-fd and systemd's socket activation.
import { createServer } from 'node:net';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { dup, socket } from '../../src/libc/calls.js';
import { AF_UNIX, SOCK_STREAM } from '../../src/libc/constants.js';
import { throwIfError } from '../../src/libc/errno.js';
import { connectUnix } from '../../src/net/unix-socket.js';
import { afterwards } from '../support/cleanup.js';
import { markersIn } from '../support/markers.js';
import { End, pipe, pipeOf } from '../support/pipe.js';
import { namesIn, StandInDump, StandInRestore } from '../support/stand-in.js';
import { ours, type Program, Streamer, startCapture } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import {
	appears,
	CAPTURE,
	connection,
	descriptor,
	ends,
	listener,
	processOf,
	smallStream,
} from './service.js';

const test = suite('handed-over sockets');

/** The program with systemd's variables: descriptor 3 is the socket, and exec keeps the process id. */
const activated = (fds = '1', pid = '$$'): Program => [
	'sh',
	'-c',
	`LISTEN_FDS=${fds} LISTEN_FDNAMES=criu LISTEN_PID=${pid} exec "$@"`,
	'sh',
	...ours,
];

test('a connected socket is used directly', async () => {
	const { ours: near, theirs } = connection();
	const { process, work, shards } = startCapture({ fds: [theirs], args: ['--criu-fd', '3'] });
	const dump = new StandInDump(near);
	const stream = shards[0]!.all();
	await dump.finish();
	await process.ends();
	assert.equal(markersIn(await stream).at(0), '0 file inventory.img');
	assert.equal(namesIn(work), []);
});

test('a connected socket serves a restore', async () => {
	const { ours: near, theirs } = connection();
	const work = temporaryDirectory();
	const serve = new Streamer(['-W', work, '--criu-fd', '3', 'serve'], {
		stdin: pipeOf(smallStream()),
		fds: [theirs],
	});
	const restore = new StandInRestore(near);
	assert.equal(await restore.read('inventory.img'), Buffer.alloc(0));
	restore.close();
	await serve.ends();
});

test('a connected socket has one CRIU', async () => {
	const serve = new Streamer(['-W', temporaryDirectory(), '--criu-fd', '3', '--criu-clients', '2', 'serve'], {
		stdin: pipeOf(smallStream()),
		fds: [connection().theirs],
	});
	assert.match(await serve.ends(2), /--criu-clients 2 needs a socket that listens, and fd 3 is connected/);
});

test('connections to a listening socket are accepted, and its path stays', async () => {
	const { end, path } = listener();
	const { process, work, shards } = startCapture({ fds: [end], args: ['--criu-fd', '3'] });
	const stream = shards[0]!.all();
	const dump = new StandInDump(throwIfError(connectUnix(path), 'connect'));
	await dump.finish();
	await process.ends();
	assert.equal(markersIn(await stream).at(0), '0 file inventory.img');
	assert.not(namesIn(work).includes(CAPTURE));
	assert.equal(namesIn(join(path, '..')), ['handed-over.sock']);
});

test('systemd passes a socket by LISTEN_FDS', async () => {
	const { end, path } = listener();
	const { process, work, shards } = startCapture({ program: activated(), fds: [end] });
	const stream = shards[0]!.all();
	const dump = new StandInDump(throwIfError(connectUnix(path), 'connect'));
	await dump.finish();
	await process.ends();
	await stream;
	assert.equal(namesIn(work), []);
});

test('systemd’s socket reaches the daemon, and its variables do not', async () => {
	const { end, path } = listener();
	const work = temporaryDirectory();
	const { readEnd, writeEnd } = pipe();
	const foreground = new Streamer(['-W', work, '--daemon', '--pidfile', 'pid', 'capture'], {
		program: activated(),
		fds: [end],
		stdout: writeEnd,
	});
	await foreground.ends();
	const pid = processOf(join(work, 'pid'));
	assert.match(descriptor(pid, 3)!, 'socket:');
	const stream = readEnd.all();
	const dump = new StandInDump(throwIfError(connectUnix(path), 'connect'));
	await dump.finish();
	await ends(pid);
	await stream;
});

test('variables for another process are ignored', async () => {
	const work = temporaryDirectory();
	const capture = new Streamer(['-W', work, 'capture'], {
		program: activated('1', '1'),
		fds: [listener().end],
		stdout: pipe().writeEnd,
	});
	await appears(work, CAPTURE);
	capture.kill('SIGTERM');
	await capture.ends(143);
});

test('more than one socket is refused', async () => {
	const capture = new Streamer(['-W', temporaryDirectory(), 'capture'], {
		program: activated('2'),
		fds: [listener().end, listener().end],
		stdout: pipe().writeEnd,
	});
	assert.is(await capture.ends(1), 'criu-image-streamer: LISTEN_FDS is 2: one socket is needed, for CRIU\n');
});

/** A UNIX socket that neither listens nor is connected. */
function idle(): End {
	return new End(throwIfError(socket(AF_UNIX, SOCK_STREAM, 0), 'socket'));
}

async function tcp(): Promise<End> {
	const server = createServer();
	await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
	afterwards(() => server.close());
	return new End(throwIfError(dup((server as unknown as { _handle: { fd: number } })._handle.fd), 'dup'));
}

const refused: [what: string, end: () => End | undefined | Promise<End>, message: string][] = [
	['a descriptor that is not open', () => undefined, 'fd 3 is not open'],
	['a pipe', () => pipe().readEnd, 'fd 3 is not a socket'],
	['a socket without a peer', idle, 'fd 3 is neither connected nor listening'],
	['a TCP socket', tcp, 'fd 3 is not a UNIX stream socket: CRIU passes descriptors, and needs one'],
];
for (const [what, end, message] of refused) {
	test(`${what} is refused`, async () => {
		const given = await end();
		const capture = new Streamer(['-W', temporaryDirectory(), '--criu-fd', '3', 'capture'], {
			stdout: pipe().writeEnd,
			fds: given ? [given] : [],
		});
		assert.is(await capture.ends(1), `criu-image-streamer: --criu-fd: ${message}\n`);
	});
}

test.run();

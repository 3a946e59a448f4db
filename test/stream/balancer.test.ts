// Which shard takes the next chunk, and how long a slow one is waited for.
import { setTimeout as delay } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { read } from '../../src/libc/calls.js';
import { EAGAIN } from '../../src/libc/errno.js';
import { EPOLLIN, poller } from '../../src/libc/poller.js';
import { waitFor } from '../../src/libc/wait.js';
import { ShardBalancer } from '../../src/stream/balancer.js';
import { ImageWriter } from '../../src/stream/image-writer.js';
import { afterwards } from '../support/cleanup.js';
import { failureOf } from '../support/failure.js';
import { pipe } from '../support/pipe.js';
import { socketPairs } from '../support/socket-pair.js';
import { suite } from '../support/suite.js';

const test = suite('balance of shards');

const CHUNK = 256 << 10;
/** Many times what the buffer of a socket, or a pipe, holds. */
const CHUNKS = 64;

function pairOfSockets(connected = socketPairs()): { near: number; far: number } {
	const { near, far } = connected();
	afterwards(() => {
		for (const fd of [near, far]) {
			poller.interrupt(fd);
			poller.close(fd);
		}
	});
	return { near, far };
}

function writerTo(fds: readonly number[], stallMillis = 0): ImageWriter {
	const run = new AbortController();
	afterwards(() => run.abort(new Error('the test is over')));
	const shards = fds.map((fd) => ({ fd, name: `shard fd ${fd}`, stallMillis }));
	return new ImageWriter(new ShardBalancer(shards, run));
}

/** Reads from `fd` until it is closed here. */
async function readAll(fd: number, signal: AbortSignal): Promise<void> {
	const memory = Buffer.from(new ArrayBuffer(CHUNK));
	for (;;) {
		const got = read(fd, memory, memory.length);
		if (got === -EAGAIN) await waitFor(fd, EPOLLIN, { signal });
		else if (got <= 0) return;
	}
}

test('a socket that nobody reads takes what its buffer holds, and the other one all the rest', async () => {
	const connected = socketPairs();
	const [unread, other] = [pairOfSockets(connected), pairOfSockets(connected)];
	const over = new AbortController();
	const reading = readAll(other.far, over.signal).catch(() => {});
	const image = writerTo([unread.near, other.near]);
	const chunk = Buffer.from(new ArrayBuffer(CHUNK));
	for (let i = 0; i < CHUNKS; i++) await image.write('pages-1.img', chunk);
	const [first, second] = image.shards.writers;
	assert.ok(
		first!.written > 0 && first!.written < 2 * CHUNK,
		`${first!.written} bytes went to the unread one`,
	);
	assert.ok(first!.written + second!.written > CHUNKS * CHUNK);
	over.abort();
	await reading;
});

test('a part of a file does not follow a small record into a shard without room', async () => {
	const [unread, other] = [pipe(), pipe()];
	const counting = other.readEnd.count();
	const image = writerTo([unread.writeEnd.fd, other.writeEnd.fd]);
	const part = Buffer.from(new ArrayBuffer(32 << 10));
	for (let i = 0; i < 64; i++) await image.write('pages-1.img', Buffer.from(new ArrayBuffer(64 << 10)));
	const [first] = image.shards.writers;
	await image.put('core-1.img', Buffer.from('small'), true);
	const before = first!.written;
	await image.write('pages-1.img', part);
	assert.ok(first!.written - before < part.length);
	other.writeEnd.close();
	await counting;
});

test('a reader that takes a few bytes at a time has not stalled', async () => {
	const { readEnd, writeEnd } = pipe();
	const image = writerTo([writeEnd.fd], 1000);
	// More than a pipe of the size of a shard holds.
	const writing = image.write('pages-1.img', Buffer.from(new ArrayBuffer(2 << 20)));
	// Fewer than a page in all: the kernel reports no room meanwhile.
	for (let i = 0; i < 25; i++) {
		await readEnd.exactly(1);
		await delay(100);
	}
	await Promise.all([writing, readEnd.exactly((1 << 20) + CHUNK)]);
});

test('a reader that takes nothing has stalled, whether its shard is alone or not', async () => {
	const connected = socketPairs();
	const chunk = Buffer.from(new ArrayBuffer(1 << 20));
	for (const count of [1, 2]) {
		const pairs = Array.from({ length: count }, () => pairOfSockets(connected));
		const failure = await failureOf(
			writerTo(
				pairs.map(({ near }) => near),
				50,
			).write('pages-1.img', chunk),
		);
		assert.match(failure.message, /has taken nothing for 0.05 s/);
	}
});

test.run();

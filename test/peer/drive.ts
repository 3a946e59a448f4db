/** The minimum use of shards that shows that a transport carries bytes. */

import * as assert from 'uvu/assert';
import { buffer, read, write } from '../../src/libc/calls.js';
import { callError, EAGAIN, EINTR } from '../../src/libc/errno.js';
import { EPOLLIN, EPOLLOUT } from '../../src/libc/poller.js';
import { waitFor } from '../../src/libc/wait.js';
import { checkOptions } from '../../src/options/check.js';
import type { Command } from '../../src/options/definitions.js';
import { type Options, readOptions } from '../../src/options/resolve.js';
import type { LinkRequest } from '../../src/peer/handshake.js';
import { type LinkOverrides, receiveOver, sendOver } from '../../src/peer/link.js';
import type { Incoming, Outgoing, Shard } from '../../src/stream/shard.js';
import type { Way } from '../../src/transports/open.js';
import { unixAddress } from '../support/addresses.js';
import { afterwards } from '../support/cleanup.js';

/** The options of a command line. */
export function optionsOf(command: Command, given: Record<string, unknown>): Options {
	const defaults = {
		shards: '1',
		'criu-clients': '1',
		verbosity: '0',
		'zero-copy': 'auto',
		'progress-fd': '2',
	};
	return readOptions(command, { ...defaults, ...given });
}

/** The transport of the stream of a command line, checked as a command does. */
export async function wayOf(command: Command, given: Record<string, unknown>): Promise<Way> {
	const start = { socketName: undefined, activated: undefined, passesOn: false };
	return (await checkOptions(optionsOf(command, given), start)).way;
}

/** The connections of a command line. */
export async function linkOf(command: Command, given: Record<string, unknown>): Promise<LinkRequest> {
	const way = await wayOf(command, given);
	if (!('link' in way)) throw new Error('no --connect or --listen is given');
	return way.link;
}

/** The values of a command line, by the names of its options. */
export type Given = Record<string, unknown>;

/** Time limits that never end a valid connection on a slow machine, for tests that are not about time. */
const LONG_LIMITS: LinkOverrides = { connectMillis: 120_000, handshakeMillis: 120_000 };

/** The sending side of a command line; it is closed when the test ends. */
export async function sender(given: Given, limits: LinkOverrides = {}): Promise<Outgoing> {
	const outgoing = await sendOver(await linkOf('capture', given), { ...LONG_LIMITS, ...limits });
	afterwards(() => outgoing.close());
	return outgoing;
}

/** The receiving side of a command line; it is closed when the test ends. */
export async function receiver(given: Given, limits: LinkOverrides = {}): Promise<Incoming> {
	const incoming = await receiveOver(await linkOf('extract', given), { ...LONG_LIMITS, ...limits });
	afterwards(() => incoming.close());
	return incoming;
}

/**
 * Starts a listening side with `start`, which passes the limits on; resolves with the promise of `start` when it listens.
 */
export async function onceListening<T>(
	start: (limits: LinkOverrides) => Promise<T>,
): Promise<{ side: Promise<T> }> {
	let side!: Promise<T>;
	await new Promise<void>((resolve, reject) => {
		side = start({ listening: async () => resolve() });
		side.catch(reject);
	});
	return { side };
}

/** More than the buffers of both sides hold. */
const BYTES = 9 << 20;

/** Sends bytes from one side to the other, on every shard, with a confirmation. */
export async function carry(outgoing: Outgoing, incoming: Incoming): Promise<void> {
	const sent = outgoing.shards.map((_, i) => pattern(BYTES + i, i));
	const reading = Promise.all(incoming.shards.map(readAll));
	await Promise.all(outgoing.shards.map((shard, i) => writeAll(shard, sent[i]!)));
	const received = outgoing.received();
	const got = await reading;
	assert.is(got.length, sent.length);
	for (const [i, bytes] of got.entries())
		assert.ok(bytes.equals(sent[i]!), `shard ${i} has the sent content`);
	await incoming.acknowledge();
	assert.equal(await received, { silent: false });
}

/** Writes all of `bytes` to a shard. */
export async function writeAll({ fd, name }: Shard, bytes: Buffer): Promise<void> {
	for (let at = 0; at < bytes.length; ) {
		const count = write(fd, bytes.subarray(at), Math.min(1 << 20, bytes.length - at));
		if (count === -EAGAIN) await waitFor(fd, EPOLLOUT);
		else if (count > 0) at += count;
		else if (count !== -EINTR) throw callError(`cannot write to ${name}`, count);
	}
}

/** Reads a shard to its end. */
export async function readAll({ fd, name }: Shard): Promise<Buffer> {
	const parts: Buffer[] = [];
	const memory = buffer(1 << 20);
	for (;;) {
		const count = read(fd, memory, memory.length);
		if (count === -EAGAIN) await waitFor(fd, EPOLLIN);
		else if (count === 0) return Buffer.concat(parts);
		else if (count > 0) parts.push(Buffer.from(memory.subarray(0, count)));
		else if (count !== -EINTR) throw callError(`cannot read ${name}`, count);
	}
}

/** Bytes that differ between shards and between offsets. */
export function pattern(bytes: number, seed: number): Buffer {
	const result = Buffer.alloc(bytes);
	for (let i = 0; i + 4 <= bytes; i += 4) result.writeUInt32LE((i * 2654435761 + seed * 40503) >>> 0, i);
	return result;
}

/** Both sides of a stream over a UNIX socket. */
export async function linked(
	given: Given = {},
	one: Given = {},
	other: Given = {},
): Promise<[Outgoing, Incoming]> {
	const address = unixAddress();
	return await Promise.all([
		sender({ connect: [address], ...given, ...one }),
		receiver({ listen: [address], ...given, ...other }),
	]);
}

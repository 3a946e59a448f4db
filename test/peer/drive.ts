/** What the engine does with shards, as little of it as shows that a transport carries bytes. */

import * as assert from 'uvu/assert';
import { buffer, read, write } from '../../src/libc/calls.js';
import { callError, EAGAIN, EINTR } from '../../src/libc/errno.js';
import { EPOLLIN, EPOLLOUT } from '../../src/libc/poller.js';
import { waitFor } from '../../src/libc/wait.js';
import { checkOptions } from '../../src/options/check.js';
import type { Command } from '../../src/options/definitions.js';
import { type Options, readOptions } from '../../src/options/resolve.js';
import type { LinkRequest } from '../../src/peer/handshake.js';
import { receiveOver, type Surroundings, sendOver } from '../../src/peer/link.js';
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

/** How the stream of a command line travels, checked as a command does it. */
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

/** What a command line gives, by the names of its options. */
export type Given = Record<string, unknown>;

/** Long enough for a slow machine where a time does not matter: it never ends a good connection. */
const PATIENT: Surroundings = { patienceMillis: 120_000, handshakeMillis: 120_000 };

/** The sending side of a command line; it is closed when the test ends. */
export async function sender(given: Given, limits: Surroundings = {}): Promise<Outgoing> {
	const outgoing = await sendOver(await linkOf('capture', given), { ...PATIENT, ...limits });
	afterwards(() => outgoing.close());
	return outgoing;
}

/** The receiving side of a command line; it is closed when the test ends. */
export async function receiver(given: Given, limits: Surroundings = {}): Promise<Incoming> {
	const incoming = await receiveOver(await linkOf('extract', given), { ...PATIENT, ...limits });
	afterwards(() => incoming.close());
	return incoming;
}

/** Starts a listening side by `start`, which passes the limits on; resolves when it listens, with what it resolves with. */
export async function onceListening<T>(
	start: (limits: Surroundings) => Promise<T>,
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

/** Bytes pass from one side to the other, on every shard, and are confirmed. */
export async function carry(outgoing: Outgoing, incoming: Incoming): Promise<void> {
	const sent = outgoing.shards.map((_, i) => pattern(BYTES + i, i));
	const reading = Promise.all(incoming.shards.map(readAll));
	await Promise.all(outgoing.shards.map((shard, i) => writeAll(shard, sent[i]!)));
	const received = outgoing.received();
	const got = await reading;
	assert.is(got.length, sent.length);
	for (const [i, bytes] of got.entries()) assert.ok(bytes.equals(sent[i]!), `shard ${i} came as it was sent`);
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

/** All that comes from a shard, to its end. */
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

/** Bytes that differ from shard to shard and from place to place. */
export function pattern(bytes: number, seed: number): Buffer {
	const result = Buffer.alloc(bytes);
	for (let i = 0; i + 4 <= bytes; i += 4) result.writeUInt32LE((i * 2654435761 + seed * 40503) >>> 0, i);
	return result;
}

/** The error that `promise` rejects with, as one line of its causes. */
export async function failureOf(promise: Promise<unknown>): Promise<Error> {
	try {
		await promise;
	} catch (error) {
		return error as Error;
	}
	throw new Error('it did not fail');
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

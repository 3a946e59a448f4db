/** What the engine does with shards, as little of it as shows that a transport carries bytes. */

import { createServer } from 'node:net';
import { buffer, read, write } from '../../src/libc/calls.js';
import { callError, EAGAIN, EINTR } from '../../src/libc/errno.js';
import { EPOLLIN, EPOLLOUT } from '../../src/libc/poller.js';
import { waitFor } from '../../src/libc/wait.js';
import { checkOptions } from '../../src/options/check.js';
import type { Command } from '../../src/options/definitions.js';
import { type Options, readOptions } from '../../src/options/resolve.js';
import type { LinkRequest } from '../../src/peer/handshake.js';
import type { Shard } from '../../src/stream/shard.js';
import type { Way } from '../../src/transports/open.js';

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

/** A port of this machine that was free a moment ago. */
export async function freePort(): Promise<number> {
	const server = createServer();
	await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
	const { port } = server.address() as { port: number };
	await new Promise((resolve) => server.close(resolve));
	return port;
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

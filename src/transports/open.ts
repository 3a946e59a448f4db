/** The shards of a command: descriptors that were handed over, or connections. */

import type { LinkRequest } from '../peer/handshake.js';
import type { Surroundings } from '../peer/link.js';
import type { Incoming, Outgoing } from '../stream/shard.js';
import { readFromFds, type ShardFd, writeToFds } from './fds.js';

/** How a stream travels. */
export type Way = { fds: readonly ShardFd[] } | { link: LinkRequest };

/**
 * Where the stream of a capture goes: open, and for connections with the far end there and agreed. Throws where the far end
 * cannot be reached or refuses.
 */
export async function openOutgoing(way: Way, surroundings: Surroundings): Promise<Outgoing> {
	if ('fds' in way) return writeToFds(way.fds);
	const { sendOver } = await import('../peer/link.js');
	return await sendOver(way.link, surroundings);
}

/** Where the stream of an extract or a serve comes from; otherwise as {@link openOutgoing}. */
export async function openIncoming(way: Way, surroundings: Surroundings): Promise<Incoming> {
	if ('fds' in way) return readFromFds(way.fds);
	const { receiveOver } = await import('../peer/link.js');
	return await receiveOver(way.link, surroundings);
}

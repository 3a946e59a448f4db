/** The shards of a command: descriptors that were handed over, or connections. */

import type { LinkRequest } from '../peer/handshake.js';
import type { LinkOverrides } from '../peer/link.js';
import type { Incoming, Outgoing } from '../stream/shard.js';
import { readFromFds, type ShardFd, writeToFds } from './fds.js';

/** The transport of a stream. */
export type Way = { fds: readonly ShardFd[] } | { link: LinkRequest };

/**
 * Opens the shards of a capture; connections are connected and past the handshake. Throws where the other side cannot be
 * reached or refuses.
 */
export async function openOutgoing(way: Way, overrides: LinkOverrides): Promise<Outgoing> {
	if ('fds' in way) return writeToFds(way.fds);
	const { sendOver } = await import('../peer/link.js');
	return await sendOver(way.link, overrides);
}

/** Opens the shards of an extract or a serve; otherwise as {@link openOutgoing}. */
export async function openIncoming(way: Way, overrides: LinkOverrides): Promise<Incoming> {
	if ('fds' in way) return readFromFds(way.fds);
	const { receiveOver } = await import('../peer/link.js');
	return await receiveOver(way.link, overrides);
}

/** The shards of a command: descriptors that were handed over, or connections. */
import type { Options } from '../cli/options.js';
import type { Incoming, Outgoing } from '../shards/shard.js';
import { readFromFds, writeToFds } from './fds.js';

/**
 * Where the stream of a capture goes: open, and for connections with the far end there and agreed. Throws UsageError about
 * options and descriptors that cannot be, and other errors where the far end cannot be reached or refuses.
 */
export async function openOutgoing(options: Options): Promise<Outgoing> {
	return writeToFds(options);
}

/** Where the stream of an extract or a serve comes from; otherwise as {@link openOutgoing}. */
export async function openIncoming(options: Options): Promise<Incoming> {
	return readFromFds(options);
}

/** The shards of a command: descriptors that were handed over, or connections. */
import type { Options } from '../cli/options.js';
import { UsageError } from '../run/errors.js';
import type { Incoming, Outgoing } from '../shards/shard.js';
import { readFromFds, writeToFds } from './fds.js';

/**
 * Where the stream of a capture goes: open, and for connections with the far end there and agreed. Throws UsageError about
 * options and descriptors that cannot be, and other errors where the far end cannot be reached or refuses.
 */
export async function openOutgoing(options: Options): Promise<Outgoing> {
	if (!overNetwork(options)) return writeToFds(options);
	const { sendOver } = await import('./link.js');
	return await sendOver(options);
}

/** Where the stream of an extract or a serve comes from; otherwise as {@link openOutgoing}. */
export async function openIncoming(options: Options): Promise<Incoming> {
	if (!overNetwork(options)) return readFromFds(options);
	const { receiveOver } = await import('./link.js');
	return await receiveOver(options);
}

function overNetwork(options: Options): boolean {
	if (options.connect.length || options.listen.length) return true;
	const idle = {
		'--shards': options.shards > 1,
		'--token-file': options.tokenFile !== undefined,
		'--tls-cert': options.tlsCert !== undefined,
		'--tls-key': options.tlsKey !== undefined,
		'--tls-ca': options.tlsCa !== undefined,
	};
	const given = Object.entries(idle).find(([, is]) => is)?.[0];
	if (given) throw new UsageError(`${given} is for connections: --connect or --listen is missing`);
	return false;
}

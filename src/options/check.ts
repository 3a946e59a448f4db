/**
 * All checks of the options that are possible before waiting for CRIU or a stream, in one place: wrong usage first, then the
 * state of the machine. A failure here leaves nothing behind, because nothing has been created yet.
 */

import type { LinkRequest } from '../peer/handshake.js';
import type { Way } from '../transports/open.js';
import { checkCriuFd, type HandedOver } from './criu-fd.js';
import { checkExtFiles, checkWatchers } from './descriptors.js';
import { checkDirectories } from './directories.js';
import type { Options } from './resolve.js';
import { checkShardFds } from './shard-fds.js';
import { checkTogether, overNetwork } from './together.js';

/** The results of the checks. */
export interface Checked {
	/** The transport of the stream. */
	way: Way;
	/** The socket for CRIU, where one was handed over. */
	handedOver: HandedOver | undefined;
}

/** Input of the checks besides the options. */
export interface Start {
	/** The name of the socket for CRIU in the work directory; undefined: the command needs none. */
	socketName: string | undefined;
	/** The socket that systemd handed over. */
	activated: number | undefined;
	/** Another process, the daemon, will do the work and repeat the checks. */
	passesOn: boolean;
	/** The command runs within another program, which may hold the other end of a pipe itself. */
	embedded?: boolean;
}

/** Throws UsageError about wrong usage (exit status 2), and other errors about the state of the machine (1). */
export async function checkOptions(options: Options, start: Start): Promise<Checked> {
	checkTogether(options);
	checkWatchers(options);
	checkExtFiles(options);
	const handedOver = checkCriuFd(options, start.activated);
	const way = overNetwork(options)
		? { link: await connections(options, start) }
		: { fds: checkShardFds(options, start.embedded) };
	checkDirectories(options, start.socketName, handedOver !== undefined);
	return { way, handedOver };
}

/** Loads the module only for connections: the application may be frozen while modules load. */
async function connections(options: Options, { passesOn }: Start): Promise<LinkRequest> {
	const { checkConnections } = await import('./connections.js');
	return await checkConnections(options, passesOn);
}

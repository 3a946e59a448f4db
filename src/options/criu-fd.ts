/**
 * An inherited socket for CRIU: --criu-fd, or systemd's socket activation. It may be connected already (a
 * process that keeps one socket pair with CRIU) or listening (a service manager that starts us for the first client).
 */

import { buffer, getsockopt } from '../libc/calls.js';
import { AF_UNIX, SO_ACCEPTCONN, SO_DOMAIN, SO_TYPE, SOCK_STREAM, SOL_SOCKET } from '../libc/constants.js';
import { callError, ENOTSOCK } from '../libc/errno.js';
import { peerOf } from '../net/unix-socket.js';
import { UsageError } from '../runtime/errors.js';
import { descriptorsOf, isOpen } from './descriptors.js';
import type { Options } from './resolve.js';

/** A socket that was handed over. */
export interface HandedOver {
	fd: number;
	kind: 'listening' | 'connected';
}

/** The socket of --criu-fd, or else `activated`, the one from systemd. Throws where it cannot be used for CRIU. */
export function checkCriuFd(options: Options, activated: number | undefined): HandedOver | undefined {
	const fd = options.criuFd ?? activated;
	if (fd === undefined) return undefined;
	const name = options.criuFd === undefined ? 'LISTEN_FDS' : '--criu-fd';
	const other = descriptorsOf({ ...options, criuFd: undefined }).get(fd);
	if (other) throw new UsageError(`${name}: fd ${fd} is used by ${other} already`);
	const kind = kindOf(fd, name);
	if (kind === 'connected' && options.criuClients > 1)
		throw new UsageError(
			`--criu-clients ${options.criuClients} needs a socket that listens, and fd ${fd} is connected to one CRIU`,
		);
	return { fd, kind };
}

/** Whether the handed-over `fd` (called `name` in messages) is listening or connected. Throws otherwise. */
function kindOf(fd: number, name: string): 'listening' | 'connected' {
	if (!isOpen(fd)) throw new Error(`${name}: fd ${fd} is not open`);
	const option = (number: number) => {
		const value = buffer(4);
		const result = getsockopt(fd, SOL_SOCKET, number, value, Int32Array.of(4));
		if (result === -ENOTSOCK) throw new Error(`${name}: fd ${fd} is not a socket`);
		if (result < 0) throw callError(`${name}: cannot ask what fd ${fd} is`, result);
		return value.readInt32LE(0);
	};
	if (option(SO_DOMAIN) !== AF_UNIX || option(SO_TYPE) !== SOCK_STREAM)
		throw new Error(`${name}: fd ${fd} is not a UNIX stream socket: CRIU passes descriptors, and needs one`);
	const listening = option(SO_ACCEPTCONN) === 1;
	// The kernel has no credentials for a socket without a peer, and returns -1.
	if (!listening && peerOf(fd).uid === 0xffffffff)
		throw new Error(`${name}: fd ${fd} is neither connected nor listening`);
	return listening ? 'listening' : 'connected';
}

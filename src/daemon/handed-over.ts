/**
 * A socket for CRIU that somebody else made: --criu-fd, or systemd's socket activation. It may be connected already (a
 * process that keeps one socket pair with CRIU) or listening (a service manager that starts us for the first client).
 */
import { buffer, getsockopt } from '../libc/calls.js';
import { AF_UNIX, SO_ACCEPTCONN, SO_DOMAIN, SO_TYPE, SOCK_STREAM, SOL_SOCKET } from '../libc/constants.js';
import { callError, ENOTSOCK } from '../libc/errno.js';
import { setNonBlocking } from '../libc/pipes.js';
import { peerOf } from '../libc/unix-socket.js';
import { isOpen } from './detach.js';

/** Systemd's sockets start here (sd_listen_fds). */
const FIRST_FD = 3;
const variables = ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES'];

/**
 * The descriptor that systemd's variables give this process, if any. They are removed: they are not meant for children.
 * Throws where there is more than one.
 */
export function takeActivation(): number | undefined {
	const [pid, fds] = variables.map((name) => process.env[name]);
	for (const name of variables) delete process.env[name];
	if (Number(pid) !== process.pid || fds === undefined) return undefined;
	if (fds !== '1') throw new Error(`LISTEN_FDS is ${fds}: one socket is needed, for CRIU`);
	return FIRST_FD;
}

/** Whether the handed-over `fd` (called `name` in messages) is listening or connected; made non-blocking. Throws otherwise. */
export function checkHandedOver(fd: number, name: string): 'listening' | 'connected' {
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
	// The kernel has no credentials for a socket without a peer, and says -1.
	if (!listening && peerOf(fd).uid === 0xffffffff)
		throw new Error(`${name}: fd ${fd} is neither connected nor listening`);
	setNonBlocking(fd);
	return listening ? 'listening' : 'connected';
}

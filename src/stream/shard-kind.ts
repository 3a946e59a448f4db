/** What a shard is to the kernel, and how much of a stream it may hold. */
import { fcntl, getsockopt } from '../libc/calls.js';
import { F_GETPIPE_SZ, SO_SNDBUF, SO_TYPE, SOL_SOCKET } from '../libc/constants.js';

export type Kind = 'pipe' | 'socket' | 'file';

/** Of a socket: in flight at a time, so that a slow one is noticed before it has taken much. */
const SOCKET_ROOM = 1 << 20;

const value = Buffer.from(new ArrayBuffer(4));

export function kindOf(fd: number): Kind {
	if (fcntl(fd, F_GETPIPE_SZ, 0) > 0) return 'pipe';
	return option(fd, SO_TYPE) >= 0 ? 'socket' : 'file';
}

/**
 * Bytes that may be in flight in a socket. Its buffer may be smaller (a UNIX socket's is 208 KiB), and grow (TCP): what does not
 * fit there would wait for its reader, while others have room.
 */
export function socketRoom(fd: number): number {
	return Math.min(SOCKET_ROOM, option(fd, SO_SNDBUF));
}

/** The value of an option of a socket, or negative errno. */
function option(fd: number, name: number): number {
	const result = getsockopt(fd, SOL_SOCKET, name, value, Int32Array.of(4));
	return result < 0 ? result : value.readInt32LE(0);
}

/** A connected pair of UNIX sockets, which Node cannot make. */
import { join } from 'node:path';
import { throwIfError } from '../../src/libc/errno.js';
import { poller } from '../../src/libc/poller.js';
import { acceptUnix, connectUnix, listenUnix } from '../../src/net/unix-socket.js';
import { afterwards } from './cleanup.js';
import { temporaryDirectory } from './temporary.js';

/** Makes pairs, non-blocking, both ends of which the caller owns. */
export function socketPairs(): () => { near: number; far: number } {
	const path = join(temporaryDirectory(), 'pair.sock');
	const listener = listenUnix(path, 'connection');
	afterwards(() => poller.close(listener));
	return () => {
		const near = throwIfError(connectUnix(path), 'connect');
		return { near, far: throwIfError(acceptUnix(listener), 'accept') };
	};
}

/** The socket on which CRIU asks for the streamer. */

import { callError, EAGAIN, EINTR } from '../libc/errno.js';
import { EPOLLIN, poller } from '../libc/poller.js';
import { acceptUnix } from '../libc/unix-socket.js';
import type { Stop } from '../run/stop.js';
import { CriuConnection } from './connection.js';

export const CAPTURE_SOCKET = 'streamer-capture.sock';
export const SERVE_SOCKET = 'streamer-serve.sock';

/** Ours in the work dir, or one that was handed over. Whoever made it closes a listening one; a connection owns its own. */
export type CriuSocket = { kind: 'listening'; fd: number } | { kind: 'connected'; fd: number };

/** The next CRIU at a listening socket, or the one at a connected socket. */
export async function acceptCriu(socket: CriuSocket, stop: Stop): Promise<CriuConnection> {
	if (socket.kind === 'connected') return new CriuConnection(socket.fd, stop);
	for (;;) {
		stop.check();
		const fd = acceptUnix(socket.fd);
		if (fd >= 0) return new CriuConnection(fd, stop);
		// ECONNABORTED and its like concern a client that has gone again.
		if (fd !== -EAGAIN && fd !== -EINTR && fd !== -ECONNABORTED) throw callError('cannot accept CRIU', fd);
		const release = stop.onFail(() => poller.interrupt(socket.fd));
		await poller.until(socket.fd, EPOLLIN);
		release();
	}
}

const ECONNABORTED = 103;

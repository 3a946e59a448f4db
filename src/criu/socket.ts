/**
 * The socket on which CRIU connects to the streamer.
 *
 * No CRIU may be connected that is not served: its writes succeed as long as the socket has room, up to a whole dump, and it
 * then ends its application. So the queue of the socket has only as many places as connections are expected, and a socket of
 * our own is shut down before the last of them is accepted: later connections are refused, and so are those that wait within
 * connect(2). A listening socket that was handed over must not be shut down: while the command runs, any further connection
 * to it is closed at once.
 */

import { close, shutdown } from '../libc/calls.js';
import { SHUT_RDWR } from '../libc/constants.js';
import { callError } from '../libc/errno.js';
import { EPOLLIN, poller } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import { acceptAll, isPassing } from '../net/accept-all.js';
import { acceptUnix, listenUnix, peerOf } from '../net/unix-socket.js';
import { registerCleanup, removeRegistered } from '../runtime/cleanup.js';
import { CriuConnection } from './connection.js';

export const CAPTURE_SOCKET = 'streamer-capture.sock';
export const SERVE_SOCKET = 'streamer-serve.sock';

/** A source of connections from CRIU. */
export interface CriuSocket {
	/** How many CRIUs are served; {@link accept} may be called as many times. */
	readonly clients: number;
	/** The connection of the next CRIU; the caller closes it. */
	accept(signal: AbortSignal): Promise<CriuConnection>;
	/** Must not be called while {@link accept} waits. Safe to call twice. */
	close(): void;
}

/** Called with the pid of a CRIU (0: it cannot be seen from here) that is about to be served. */
export type OnCriu = (pid: number) => void;

/** A socket that is already connected to its one CRIU; the {@link CriuConnection} becomes its owner. */
export class ConnectedSocket implements CriuSocket {
	readonly clients = 1;

	constructor(
		readonly fd: number,
		readonly onCriu: OnCriu = () => {},
	) {}

	async accept(signal: AbortSignal): Promise<CriuConnection> {
		this.onCriu(peerOf(this.fd).pid);
		return new CriuConnection(this.fd, signal);
	}

	close(): void {}
}

/** A socket that listens; it is closed when no further connection is expected, or by {@link close}. */
export class ListeningSocket implements CriuSocket {
	#expected: number;
	#closed = false;
	#stopRejecting = () => {};

	/** Owns `fd`, and `path` where the socket is our own. */
	constructor(
		readonly fd: number,
		readonly clients = 1,
		readonly onCriu: OnCriu = () => {},
		readonly path?: string,
	) {
		this.#expected = clients;
	}

	/** Creates one at `path`. Throws where a running process listens there. */
	static at(path: string, clients: number, onCriu?: OnCriu): ListeningSocket {
		const fd = listenUnix(path, 'table', clients);
		registerCleanup(path);
		return new ListeningSocket(fd, clients, onCriu, path);
	}

	async accept(signal: AbortSignal): Promise<CriuConnection> {
		const fd = await this.#next(signal);
		this.#expected--;
		if (this.#expected === 0) {
			if (this.path === undefined) this.#stopRejecting = acceptAll(this.fd, (other) => void close(other));
			else this.close();
		}
		const criu = new CriuConnection(fd, signal);
		try {
			this.onCriu(peerOf(fd).pid);
		} catch (error) {
			criu.close();
			throw error;
		}
		return criu;
	}

	close(): void {
		if (this.#closed) return;
		this.#closed = true;
		// Unlink before closing: once the socket is closed, another streamer may take the path.
		if (this.path !== undefined) removeRegistered(this.path);
		this.#stopRejecting();
		poller.close(this.fd);
	}

	async #next(signal: AbortSignal): Promise<number> {
		for (;;) {
			const events = await waitFor(this.fd, EPOLLIN, { signal });
			if (!(events & EPOLLIN)) continue;
			if (this.path !== undefined && this.#expected === 1) shutdown(this.fd, SHUT_RDWR);
			const fd = acceptUnix(this.fd);
			if (fd >= 0) return fd;
			if (!isPassing(fd)) throw callError('cannot accept CRIU', fd);
		}
	}
}

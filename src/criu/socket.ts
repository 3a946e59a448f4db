/**
 * The socket on which CRIU asks for the streamer.
 *
 * No CRIU may be connected that is not served: what it writes is taken for written, up to a whole dump, and it then ends its
 * application. So no more connections wait than are expected, and a socket of our own is shut down before the last of them
 * is accepted: from then on nobody can connect, and who waits within connect(2) is refused there. A listening socket that
 * was handed over is not ours to shut down: while the command runs, whoever else connects there is turned away at once.
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

/** Where CRIUs come from. */
export interface CriuSocket {
	/** How many CRIUs are served: {@link accept} is called as often. */
	readonly clients: number;
	/** The next CRIU, which the caller closes. */
	accept(signal: AbortSignal): Promise<CriuConnection>;
	/** Nobody waits in {@link accept} any more. Safe to call twice. */
	close(): void;
}

/** Called with the pid of a CRIU (0: it cannot be seen from here) that is about to be served. */
export type OnCriu = (pid: number) => void;

/** A socket that is connected to its one CRIU, of which the connection becomes the owner. */
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

/** A socket that listens; it is closed when nobody else is expected, or by {@link close}. */
export class ListeningSocket implements CriuSocket {
	#expected: number;
	#closed = false;
	#endTurningAway = () => {};

	/** Owns `fd`, and the `path` that it was given where it is our own. */
	constructor(
		readonly fd: number,
		readonly clients = 1,
		readonly onCriu: OnCriu = () => {},
		readonly path?: string,
	) {
		this.#expected = clients;
	}

	/** Makes one at `path`. Throws where a living process listens there. */
	static at(path: string, clients: number, onCriu?: OnCriu): ListeningSocket {
		const fd = listenUnix(path, 'table', clients);
		registerCleanup(path);
		return new ListeningSocket(fd, clients, onCriu, path);
	}

	async accept(signal: AbortSignal): Promise<CriuConnection> {
		const fd = await this.#next(signal);
		this.#expected--;
		if (this.#expected === 0) {
			if (this.path === undefined) this.#endTurningAway = acceptAll(this.fd, (other) => void close(other));
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
		// In this order: once nobody listens another streamer may take the path.
		if (this.path !== undefined) removeRegistered(this.path);
		this.#endTurningAway();
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

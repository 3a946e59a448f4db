/** Accepts every connection for as long as a socket listens, in the background. */
import { setTimeout as delay } from 'node:timers/promises';
import { close } from '../libc/calls.js';
import { EAGAIN, ECONNABORTED, EINTR } from '../libc/errno.js';
import { EPOLLIN, poller } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import { acceptUnix } from '../net/unix-socket.js';

/** Pause between two attempts after an error that may pass, such as a lack of descriptors. */
const RETRY_MILLIS = 20;

/** Whether a failed accept only means that no connection waits any more. */
export function isPassing(result: number): boolean {
	return result === -EAGAIN || result === -EINTR || result === -ECONNABORTED;
}

/**
 * Passes every connection to the UNIX socket `fd` to `take`, which owns it unless it throws: then it is closed. Returns a
 * function that ends that; it does not close `fd`.
 */
export function acceptAll(fd: number, take: (connection: number) => void): () => void {
	let stopped = false;
	const accept = async () => {
		while (!stopped) {
			const connection = acceptUnix(fd);
			if (connection >= 0) attempt(connection, take);
			else if (isPassing(connection)) await waitFor(fd, EPOLLIN).catch(() => delay(RETRY_MILLIS));
			else await delay(RETRY_MILLIS);
		}
	};
	void accept();
	return () => {
		stopped = true;
		poller.interrupt(fd);
	};
}

function attempt(connection: number, take: (connection: number) => void): void {
	try {
		take(connection);
	} catch {
		close(connection);
	}
}

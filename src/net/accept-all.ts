/** Accepting whoever connects, for as long as a socket listens, beside all that goes on. */
import { setTimeout as delay } from 'node:timers/promises';
import { close } from '../libc/calls.js';
import { EAGAIN, ECONNABORTED, EINTR } from '../libc/errno.js';
import { EPOLLIN, poller } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import { acceptUnix } from '../net/unix-socket.js';

/** Between two tries where the process is out of descriptors, for one: others may give theirs back. */
const RETRY_MILLIS = 20;

/** Whether a failed accept says only that nobody is there, or nobody any more. */
export function isPassing(result: number): boolean {
	return result === -EAGAIN || result === -EINTR || result === -ECONNABORTED;
}

/**
 * Gives every connection to the UNIX socket `fd` to `take`, which owns it unless it throws: then it is closed. Returns what
 * ends that; it does not close `fd`.
 */
export function acceptAll(fd: number, take: (connection: number) => void): () => void {
	let over = false;
	const accept = async () => {
		while (!over) {
			const connection = acceptUnix(fd);
			if (connection >= 0) attempt(connection, take);
			else if (isPassing(connection)) await waitFor(fd, EPOLLIN).catch(() => delay(RETRY_MILLIS));
			else await delay(RETRY_MILLIS);
		}
	};
	void accept();
	return () => {
		over = true;
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

/**
 * Readers that have ended. A write would tell, but nobody writes to a full pipe, and a full pipe without a reader stays so
 * for ever.
 */
import { buffer, close, epollCreate1, epollCtl, epollWait } from '../libc/calls.js';
import { EPOLL_CTL_ADD, O_CLOEXEC } from '../libc/constants.js';
import { EPERM, must } from '../libc/errno.js';

/** Of struct epoll_event, as in libc/poller.ts. */
const EVENT_BYTES = process.arch === 'x64' ? 12 : 16;
const EVENT_DATA = EVENT_BYTES - 8;

/** The first of `fds` whose other end is gone, in this moment. It costs a few calls: not for every turn of a loop. */
export function firstEnded(fds: readonly number[]): number | undefined {
	const epoll = must(epollCreate1(O_CLOEXEC), 'cannot look for readers that have ended');
	try {
		const event = buffer(EVENT_BYTES);
		for (const fd of fds) {
			// No events wanted: the kernel reports errors and hang-ups in any case.
			event.writeInt32LE(fd, EVENT_DATA);
			const result = epollCtl(epoll, EPOLL_CTL_ADD, fd, event);
			// A regular file has no other end.
			if (result !== -EPERM) must(result, `cannot watch fd ${fd}`);
		}
		return epollWait(epoll, event, 1, 0) > 0 ? event.readInt32LE(EVENT_DATA) : undefined;
	} finally {
		close(epoll);
	}
}

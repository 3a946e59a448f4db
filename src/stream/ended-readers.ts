/**
 * Readers that have ended. A write would tell, but nobody writes to a full pipe, and a full pipe without a reader stays so
 * for ever.
 */
import { buffer, poll } from '../libc/calls.js';

/** Of struct pollfd: an fd, and two shorts for the events that are wanted and those that came. */
const POLLFD_BYTES = 8;
const RESULT = 6;

/** The first of `fds` whose other end is gone, in this moment. */
export function firstEnded(fds: readonly number[]): number | undefined {
	// No events wanted: the kernel reports errors and hang-ups in any case.
	const polled = buffer(fds.length * POLLFD_BYTES);
	for (const [i, fd] of fds.entries()) polled.writeInt32LE(fd, i * POLLFD_BYTES);
	if (poll(polled, fds.length, 0) <= 0) return undefined;
	return fds.find((_, i) => polled.readInt16LE(i * POLLFD_BYTES + RESULT) !== 0);
}

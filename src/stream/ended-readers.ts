/**
 * Finds readers that have ended. A write would fail, but a full pipe is not written to, and one without a reader stays
 * full.
 */
import { buffer, poll } from '../libc/calls.js';

/** Of struct pollfd: an fd, and two shorts for the events asked for and those that came. */
const POLLFD_BYTES = 8;
const RESULT = 6;

/** The first of `fds` whose other end is gone at this moment. */
export function firstEnded(fds: readonly number[]): number | undefined {
	// No events are asked for: the kernel reports errors and hang-ups in any case.
	const polled = buffer(fds.length * POLLFD_BYTES);
	for (const [i, fd] of fds.entries()) polled.writeInt32LE(fd, i * POLLFD_BYTES);
	if (poll(polled, fds.length, 0) <= 0) return undefined;
	return fds.find((_, i) => polled.readInt16LE(i * POLLFD_BYTES + RESULT) !== 0);
}

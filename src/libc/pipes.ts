/** Creating, measuring and enlarging pipes. */
import { fcntl, ioctl, pipe2 } from './calls.js';
import {
	F_GETFL,
	F_GETPIPE_SZ,
	F_SETFL,
	F_SETPIPE_SZ,
	FIONREAD,
	O_CLOEXEC,
	O_NONBLOCK,
	PAGE,
} from './constants.js';
import { EBADF, throwIfError } from './errno.js';

/**
 * The largest pipe size that is requested. CRIU has problems with a larger one, and a call does not move more of it. Without
 * CAP_SYS_RESOURCE the kernel grants 1 MiB (/proc/sys/fs/pipe-max-size), and less when it is short of memory.
 */
export const LARGEST_PIPE = 4 << 20;
/**
 * The pipe size of a shard: a slow reader is noticed before it has much of the stream, and every user is granted this much.
 */
export const SHARD_PIPE = 1 << 20;
const SIZES = [LARGEST_PIPE, 1 << 20, 512 << 10, 256 << 10, 128 << 10];

const ends = new Int32Array(new ArrayBuffer(8));
const waiting = new Int32Array(new ArrayBuffer(4));

/** A new pipe, non-blocking and close-on-exec at both ends, or the negative errno. The caller owns both ends. */
export function makePipe(): { readEnd: number; writeEnd: number } | number {
	const result = pipe2(ends, O_NONBLOCK | O_CLOEXEC);
	return result < 0 ? result : { readEnd: ends[0]!, writeEnd: ends[1]! };
}

/** Whether `fd` is one end of a pipe. */
export function isPipe(fd: number): boolean {
	return fcntl(fd, F_GETPIPE_SZ, 0) !== -EBADF;
}

/** The capacity in bytes of the pipe of `fd`, reached when every page of it is full. */
export function pipeSize(fd: number): number {
	return throwIfError(fcntl(fd, F_GETPIPE_SZ, 0), `cannot ask for the size of pipe fd ${fd}`);
}

/** The largest size that the kernel may grant, by its answers so far: requesting more costs a call that fails. */
let granted = LARGEST_PIPE;

/** Makes the pipe of `fd` as large as the kernel grants (`max` at most; never smaller than it is); returns its size. */
export function enlargePipe(fd: number, max = LARGEST_PIPE): number {
	const now = pipeSize(fd);
	for (const size of SIZES) {
		if (size > max || size > granted) continue;
		if (size <= now) break;
		const result = fcntl(fd, F_SETPIPE_SZ, size);
		if (result > 0) return result;
		// The limit on all pipes of a user may be lifted again as pipes are closed; the limit on one pipe stays.
		if (size > 1 << 20) granted = 1 << 20;
	}
	return now;
}

/** Unread bytes in a pipe or socket; 0 where the kernel does not tell. */
export function bytesWaiting(fd: number): number {
	return ioctl(fd, FIONREAD, waiting) < 0 ? 0 : waiting[0]!;
}

/**
 * Makes calls on `fd` return EAGAIN instead of waiting. The flag belongs to the open file description, which other processes
 * may share: returns the previous flags, for {@link restoreFlags}.
 */
export function setNonBlocking(fd: number): number {
	const flags = throwIfError(fcntl(fd, F_GETFL, 0), `cannot use fd ${fd}`);
	if (!(flags & O_NONBLOCK))
		throwIfError(fcntl(fd, F_SETFL, flags | O_NONBLOCK), `cannot make fd ${fd} non-blocking`);
	return flags;
}

/** Undoes {@link setNonBlocking}. */
export function restoreFlags(fd: number, flags: number): void {
	if (!(flags & O_NONBLOCK)) fcntl(fd, F_SETFL, flags);
}

/** The number of pages that `bytes` occupy. */
export function pagesOf(bytes: number): number {
	return Math.ceil(bytes / PAGE);
}

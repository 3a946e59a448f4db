/** Pipes: made, measured, enlarged. */
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
 * The largest pipe asked for. A larger one troubles CRIU, and moves no more per call; without CAP_SYS_RESOURCE the kernel
 * grants 1 MiB (/proc/sys/fs/pipe-max-size), and less when it is short of memory.
 */
export const LARGEST_PIPE = 4 << 20;
/** Of a shard: a slow one must not take much before it is noticed; and the kernel grants as much to everybody. */
export const SHARD_PIPE = 1 << 20;
const SIZES = [LARGEST_PIPE, 1 << 20, 512 << 10, 256 << 10, 128 << 10];

const ends = new Int32Array(new ArrayBuffer(8));
const waiting = new Int32Array(new ArrayBuffer(4));

/** A new pipe, non-blocking and close-on-exec at both ends, or the negative errno. The caller owns both. */
export function makePipe(): { readEnd: number; writeEnd: number } | number {
	const result = pipe2(ends, O_NONBLOCK | O_CLOEXEC);
	return result < 0 ? result : { readEnd: ends[0]!, writeEnd: ends[1]! };
}

/** Whether `fd` is one end of a pipe. */
export function isPipe(fd: number): boolean {
	return fcntl(fd, F_GETPIPE_SZ, 0) !== -EBADF;
}

/** Bytes that the pipe of `fd` can hold, when every page of it is full. */
export function pipeSize(fd: number): number {
	return throwIfError(fcntl(fd, F_GETPIPE_SZ, 0), `cannot ask for the size of pipe fd ${fd}`);
}

/** The largest size that was granted so far: asking for more costs a call that is refused. */
let granted = LARGEST_PIPE;

/** Makes the pipe of `fd` as large as the kernel grants (`most` at most; never smaller than it is); returns its size. */
export function enlargePipe(fd: number, most = LARGEST_PIPE): number {
	const now = pipeSize(fd);
	for (const size of SIZES) {
		if (size > most || size > granted) continue;
		if (size <= now) break;
		const result = fcntl(fd, F_SETPIPE_SZ, size);
		if (result > 0) return result;
		// A soft limit on a user's pipe pages frees up again; the limit on one pipe does not.
		if (size > 1 << 20) granted = 1 << 20;
	}
	return now;
}

/** Bytes that wait in a pipe or socket; 0 where that cannot be told. */
export function bytesWaiting(fd: number): number {
	return ioctl(fd, FIONREAD, waiting) < 0 ? 0 : waiting[0]!;
}

/**
 * Makes calls on `fd` return EAGAIN instead of waiting. The flag belongs to the open file description, which other processes
 * may share: returns the flags that were there before, for {@link restoreFlags}.
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

/** Pages that `bytes` fill. */
export function pagesOf(bytes: number): number {
	return Math.ceil(bytes / PAGE);
}

/**
 * Failed calls of libc, as errors that name the thing, the cause and (where the caller knows one) the cure.
 *
 * The calls in this folder return the negative errno instead of throwing: EAGAIN and EINTR are ordinary answers here, and
 * an exception per answer would cost more than the call.
 */
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { fileLimitHint } from './file-limit.js';

export const { EAGAIN, EINTR, EPIPE, ECONNRESET, EBADF, EINVAL, ENOMEM, EMFILE, ENFILE, ENOSPC, EPERM } =
	constants.errno;
export const {
	EEXIST,
	ENOENT,
	ECONNREFUSED,
	EADDRINUSE,
	ENOTSOCK,
	EOPNOTSUPP,
	ENAMETOOLONG,
	EINPROGRESS,
	EPROTOTYPE,
} = constants.errno;

/** The words for `errno` (positive or negative): "no space left on device (ENOSPC)"; with the cure where there is but one. */
export function errnoText(errno: number): string {
	const number = Math.abs(errno);
	const known = getSystemErrorMap().get(-number);
	const text = known ? `${known[1]} (${known[0]})` : `error ${number}`;
	return number === EMFILE ? `${text}: ${fileLimitHint()}` : text;
}

/** An error for a libc call that returned `result` (a negative errno), about `what` ("cannot write to shard fd 3"). */
export function callError(what: string, result: number): Error & { errno: number } {
	return Object.assign(new Error(`${what}: ${errnoText(result)}`), { errno: -result });
}

/** `result`, or an error about `what` where it is a negative errno. */
export function must(result: number, what: string): number {
	if (result < 0) throw callError(what, result);
	return result;
}

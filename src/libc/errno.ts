/**
 * Failed libc calls, as errors that name the thing, the cause and (where there is only one) the cure.
 *
 * The calls in this directory return the negative errno instead of throwing: EAGAIN and EINTR are ordinary results here, and
 * an exception for each would cost more than the call.
 */
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';

export const { EAGAIN, EINTR, EPIPE, ECONNRESET, EBADF, EINVAL, EIO, ENOMEM, EMFILE, ENFILE, ENOSPC, EPERM } =
	constants.errno;
export const {
	EEXIST,
	ENOENT,
	ECONNREFUSED,
	ECONNABORTED,
	EADDRINUSE,
	ENOTSOCK,
	EOPNOTSUPP,
	ENAMETOOLONG,
	EINPROGRESS,
	EPROTOTYPE,
} = constants.errno;

/**
 * The cure for each errno that has only one, registered by modules that are not always loaded: the action script does not
 * load libc/calls.ts, because the application is frozen while it loads.
 */
export const cures = new Map<number, () => string>();

/**
 * The text for `errno` (positive or negative): "no space left on device (ENOSPC)"; with the cure where there is only one.
 */
export function errnoText(errno: number): string {
	const number = Math.abs(errno);
	const known = getSystemErrorMap().get(-number);
	const text = known ? `${known[1]} (${known[0]})` : `error ${number}`;
	const cure = cures.get(number);
	return cure ? `${text}: ${cure()}` : text;
}

/** The errno of an error thrown by Node's own calls, for {@link errnoText}. */
export function errnoOf(error: unknown): number {
	return (error as NodeJS.ErrnoException).errno ?? 0;
}

/**
 * Returns the result of `call`, a call of Node's. Where that throws, throws an error about `what` instead ("cannot open the
 * log file x").
 */
export function explained<T>(what: string, call: () => T): T {
	try {
		return call();
	} catch (error) {
		throw callError(what, errnoOf(error));
	}
}

/**
 * The message of `error` in the form of this program's own errors: "cannot open /x: permission denied (EACCES)" in place of
 * Node's "EACCES: permission denied, open '/x'". Undefined unless `error` is from a failed call of Node's.
 */
export function nodeErrorText(error: unknown): { what: string; why: string } | undefined {
	const { errno, code, syscall, path, dest } = error as NodeJS.ErrnoException & { dest?: string };
	if (!(error instanceof Error) || typeof errno !== 'number' || !code || !syscall) return undefined;
	if (!getSystemErrorMap().has(-Math.abs(errno))) return undefined;
	const call = syscall.split(' ')[0];
	const what = [call, path, dest && `to ${dest}`].filter(Boolean).join(' ');
	return { what, why: errnoText(errno) };
}

/** An error for a libc call that returned `result` (a negative errno), about `what` ("cannot write to shard fd 3"). */
export function callError(what: string, result: number): Error & { errno: number } {
	return Object.assign(new Error(`${what}: ${errnoText(result)}`), { errno: -result });
}

/** `result`, or an error about `what` where it is a negative errno. */
export function throwIfError(result: number, what: string): number {
	if (result < 0) throw callError(what, result);
	return result;
}

/** Errors as one line for people: the message with its causes. */
import { nodeErrorText } from '../libc/errno.js';
import { type ErrorCode, StreamError } from './stream-error.js';

/** Wrong usage: exit status 2. */
export class UsageError extends StreamError {
	constructor(message: string) {
		super('USAGE', message);
	}
}

/** The code of `error`, or of the first of its causes that has one. */
export function codeOf(error: unknown): ErrorCode {
	for (let at = error; at instanceof Error; at = at.cause) if (at instanceof StreamError) return at.code;
	return 'FAILED';
}

/** The message of `error` and of its causes, on one line. */
export function describeError(error: unknown): string {
	const parts: string[] = [];
	for (let at: unknown = error; at !== undefined; at = at instanceof Error ? at.cause : undefined) {
		const text = textOf(at, parts);
		if (!parts.some((part) => part.includes(text))) parts.push(text);
	}
	// Control characters may come from outside, and a message is one line.
	return parts.join(': ').replace(/\p{Cc}+/gu, ' ');
}

/** Where `before` already has a message, a failed call of Node's only adds the reason. */
function textOf(error: unknown, before: readonly string[]): string {
	const call = nodeErrorText(error);
	if (call) return before.length ? call.why : `cannot ${call.what}: ${call.why}`;
	return error instanceof Error ? error.message : String(error);
}

/** `error` as an Error. */
export function asError(error: unknown): Error {
	return error instanceof Error ? error : new Error(String(error));
}

/** Errors that a program can tell apart. */

/**
 * What kind of thing failed:
 * - `USAGE`: options are wrong, or do not fit each other or what they name
 * - `FAILED`: all else; the message says what, why, and what to do
 */
export type ErrorCode = 'USAGE' | 'FAILED';

/** An error with a code for programs, beside the message for people. */
export class StreamError extends Error {
	override readonly name: string = 'StreamError';

	constructor(
		readonly code: ErrorCode,
		message: string,
		options?: ErrorOptions,
	) {
		super(message, options);
	}
}

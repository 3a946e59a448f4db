/** Errors that a program can tell apart. */

/**
 * What kind of thing failed:
 * - `USAGE`: options are wrong, or do not fit each other or what they name; nothing has been made
 * - `SOCKET_IN_USE`: another process has a socket of the work directory
 * - `DUMP_INCOMPLETE`: CRIU ended before it had sent its last image
 * - `STREAM_INCOMPLETE`: the stream ends before its image does, or a part of it is missing
 * - `STALLED`: the other side of the stream is silent for longer than it may be
 * - `MEMORY_SHORT`: the image does not fit into memory, or not into what it may have of it
 * - `SPOOL_FULL`: nor into the spool
 * - `FILE_EXISTS`: a file of an extract is there already
 * - `ASKED_TWICE`: CRIU asked again for a file whose pages it has taken
 * - `FAILED`: all else
 */
export type ErrorCode =
	| 'USAGE'
	| 'SOCKET_IN_USE'
	| 'DUMP_INCOMPLETE'
	| 'STREAM_INCOMPLETE'
	| 'STALLED'
	| 'MEMORY_SHORT'
	| 'SPOOL_FULL'
	| 'FILE_EXISTS'
	| 'ASKED_TWICE'
	| 'FAILED';

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

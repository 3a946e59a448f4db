/** Errors that a program can distinguish. */

/**
 * The kind of the failure:
 * - `USAGE`: options are invalid, or do not fit each other or what they name; nothing has been created
 * - `SOCKET_IN_USE`: another process has a socket of the work directory
 * - `DUMP_INCOMPLETE`: CRIU ended before it had sent its last image
 * - `STREAM_INCOMPLETE`: the stream ends before its image does, or a part of it is missing
 * - `STALLED`: the other side of the stream made no progress within the stall timeout
 * - `MEMORY_SHORT`: the image does not fit into memory, and there is no spool
 * - `MEMORY_LIMIT`: the image exceeds the memory limit, and there is no spool
 * - `SPOOL_FULL`: the image fits neither into memory nor into the spool
 * - `FILE_EXISTS`: a file of an extract exists already
 * - `ASKED_TWICE`: CRIU requested a file again whose pages it has already read
 * - `NEEDS_FILES`: CRIU reads memory at offsets, which only a restore from files can serve
 * - `CORRECTIONS_LOST`: pages left by reference, and what changes in them afterwards cannot be read
 * - `FAILED`: any other failure
 *
 * The option that cures an error is in options/hints.ts, by code: a message of the directories below options/ names none.
 */
export type ErrorCode =
	| 'USAGE'
	| 'SOCKET_IN_USE'
	| 'DUMP_INCOMPLETE'
	| 'STREAM_INCOMPLETE'
	| 'STALLED'
	| 'MEMORY_SHORT'
	| 'MEMORY_LIMIT'
	| 'SPOOL_FULL'
	| 'FILE_EXISTS'
	| 'ASKED_TWICE'
	| 'NEEDS_FILES'
	| 'CORRECTIONS_LOST'
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

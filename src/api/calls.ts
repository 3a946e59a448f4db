/**
 * The calls of index.ts. This module loads libc and everything that a command needs, so it is imported by the first call.
 */
import { captureImage } from '../commands/capture.js';
import { sendImages } from '../commands/capture-directory.js';
import { extractFiles } from '../commands/extract.js';
import { replayImage } from '../commands/restore.js';
import { CAPTURE_SOCKET, SERVE_SOCKET } from '../criu/socket.js';
import type { Session } from '../daemon/session.js';
import type { Command } from '../options/definitions.js';
import type { Options } from '../options/resolve.js';
import type { ProgressEvents } from '../report/progress.js';
import { withCleanup } from '../runtime/cleanup-stack.js';
import { codeOf, UsageError } from '../runtime/errors.js';
import { StreamError } from '../runtime/stream-error.js';
import { describe, optionsOf } from './options.js';
import { openSession, progressOf } from './session.js';
import type { CaptureOptions, Common, ExtractOptions, ServeOptions, Summary } from './types.js';

export function capture(given: CaptureOptions): Promise<Summary> {
	const stored = given?.from !== undefined;
	return stored
		? call('capture', undefined, given, sendImages)
		: call('capture', CAPTURE_SOCKET, given, captureImage);
}

export function extract(given: ExtractOptions): Promise<Summary> {
	return call('extract', undefined, given, extractFiles);
}

export function serve(given: ServeOptions): Promise<Summary> {
	return call('serve', SERVE_SOCKET, given, replayImage);
}

type Work = (options: Options, session: Session, progress: ProgressEvents) => Promise<Summary>;

async function call(
	command: Command,
	socketName: string | undefined,
	given: Common,
	work: Work,
): Promise<Summary> {
	try {
		const options = optionsOf(command, given);
		return await withCleanup(async (cleanup) => {
			const session = await openSession(options, socketName, given);
			cleanup.defer(() => session.close());
			return await work(options, session, progressOf(given));
		});
	} catch (error) {
		// Any other error is a consequence of the abort.
		given?.signal?.throwIfAborted();
		throw asStreamError(error);
	}
}

/** `error` and its causes in one message, about fields instead of options. */
function asStreamError(error: unknown): StreamError {
	// A UsageError names the command line's options, and so would be its message as a cause.
	const options = error instanceof UsageError ? {} : { cause: error };
	return new StreamError(codeOf(error), describe(error), options);
}

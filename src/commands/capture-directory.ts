/** capture --from: an images directory that is on the disk already becomes a stream. No CRIU is involved. */
import { ImagesDirectory } from '../capture/directory.js';
import { captureDirectory } from '../capture/stored.js';
import { openSession, type Session } from '../daemon/session.js';
import type { Options } from '../options/resolve.js';
import { Progress, type ProgressEvents } from '../report/progress.js';
import { unlessAborted } from '../runtime/cancellation.js';
import { withCleanup } from '../runtime/cleanup-stack.js';
import { asError } from '../runtime/errors.js';
import type { StreamSummary } from '../stream/summary.js';
import { delivered, openFor, withRemoteError } from './outgoing.js';

export async function run(options: Options): Promise<void> {
	await withCleanup(async (cleanup) => {
		const session = await openSession(options, undefined);
		cleanup.defer((failure) => session.close(failure));
		await sendImages(options, session, new Progress(options.progressFd, options.displayStats && 'captured'));
	});
}

/** Sends one images directory. Resolves when the stream is delivered. */
export function sendImages(
	options: Options,
	session: Session,
	progress: ProgressEvents,
): Promise<StreamSummary> {
	return withCleanup(async (cleanup) => {
		const { signal, log } = session;
		const directory = await ImagesDirectory.open(options.from!, options.allowIncomplete);
		if (directory.leftOut.length) log.info(`left out, no images: ${directory.leftOut.join(', ')}`);
		const outgoing = await openFor(session);
		cleanup.defer((failure) => failure && outgoing.close(asError(failure)));
		return await withRemoteError(outgoing, async () => {
			await session.ready();
			const { shards } = outgoing;
			const summary = await captureDirectory({ directory, shards, extFiles: options.extFiles, signal });
			const end = delivered(outgoing, session);
			await (signal ? unlessAborted(signal, end) : end);
			progress.transferred(summary);
			return summary;
		});
	});
}

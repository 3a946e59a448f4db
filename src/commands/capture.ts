/** capture: from a dumping CRIU to the shards, and success is reported only after every byte is delivered. */
import { capture } from '../capture/capture.js';
import { chooseReferences } from '../capture/references.js';
import { serveControl } from '../control/server.js';
import { dumpKindOf } from '../criu/dump-kind.js';
import { CAPTURE_SOCKET } from '../criu/socket.js';
import { openSession, type Session } from '../daemon/session.js';
import { peerOf } from '../net/unix-socket.js';
import type { Options } from '../options/resolve.js';
import { Progress, type ProgressEvents } from '../report/progress.js';
import { unlessAborted } from '../runtime/cancellation.js';
import { withCleanup } from '../runtime/cleanup-stack.js';
import { asError } from '../runtime/errors.js';
import type { StreamSummary } from '../stream/summary.js';
import { delivered, openFor, withRemoteError } from './outgoing.js';

/** A dump to a page server beside a stream is supported, with a warning. */
const NO_PAGES =
	'CRIU has --page-server: the memory of the application goes there, and this stream holds none of it; ' +
	'a restore needs the images of the page server too';

export async function run(options: Options): Promise<void> {
	await withCleanup(async (cleanup) => {
		const session = await openSession(options, CAPTURE_SOCKET);
		cleanup.defer((failure) => session.close(failure));
		await captureImage(
			options,
			session,
			new Progress(options.progressFd, options.displayStats && 'captured'),
		);
	});
}

/** Takes one dump. Resolves when the stream is delivered, and CRIU's action scripts send no further questions. */
export function captureImage(
	options: Options,
	session: Session,
	progress: ProgressEvents,
): Promise<StreamSummary> {
	return withCleanup(async (cleanup) => {
		const control = serveControl(session.workDir, 'capture');
		cleanup.defer(() => control.close());
		const failed = new AbortController();
		cleanup.defer((failure) => failure && failed.abort(failure));
		cleanup.defer((failure) => failure && control.fail(session.describe(failure)));

		const outgoing = await openFor(session);
		cleanup.defer(async (failure) => {
			if (!failure) return;
			control.fail(session.describe(failure));
			await outgoing.close(asError(failure));
		});

		const signal = AbortSignal.any([
			failed.signal,
			control.givenUp,
			...(session.signal ? [session.signal] : []),
		]);
		return await withRemoteError(outgoing, async () => {
			let scriptMayAsk = true;
			const criu = session.openCriuSocket((pid) => control.connected(pid));
			control.criuSocketReady();
			await session.ready();
			progress.socketInit();
			const { summary, criuClosed } = await capture({
				criu,
				shards: outgoing.shards,
				extFiles: options.extFiles,
				plan: (fd) => {
					const { pid } = peerOf(fd);
					const kind = dumpKindOf(pid);
					scriptMayAsk = kind.script;
					if (kind.pageServer) session.log.warn(NO_PAGES);
					const held = kind.asks && control.hasScriptOf(pid);
					return {
						references: chooseReferences(options.zeroCopy, kind, held, outgoing.copies, session.log),
						asked: held ? control.finishedAsked : undefined,
					};
				},
				allowIncomplete: options.allowIncomplete,
				signal,
				log: session.log,
				onStart: () => progress.checkpointStart(),
			});
			await unlessAborted(signal, delivered(outgoing, session));
			control.finish();
			progress.transferred(summary);
			if (!scriptMayAsk) return summary;
			// A file that CRIU sends after the end of its image is missing there, and fails the capture.
			const end = control.linger(criuClosed).then(() => criuClosed);
			await (session.signal ? unlessAborted(session.signal, end) : end);
			return summary;
		});
	});
}

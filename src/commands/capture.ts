/** capture: from a dumping CRIU to the shards, and no word of success before every byte is out. */
import { capture } from '../capture/capture.js';
import type { References } from '../capture/page-transfer.js';
import { serveControl } from '../control/server.js';
import { type DumpKind, dumpKindOf } from '../criu/dump-kind.js';
import { CAPTURE_SOCKET } from '../criu/socket.js';
import { openSession } from '../daemon/session.js';
import { peerOf } from '../net/unix-socket.js';
import type { Options } from '../options/resolve.js';
import type { Log } from '../report/log.js';
import { Progress } from '../report/progress.js';
import { displayStats } from '../report/stats.js';
import { asError, describeError } from '../runtime/errors.js';
import { openOutgoing } from '../transports/open.js';

/** A dump to a page server beside a stream is what some want, so it is no error. */
const NO_PAGES =
	'CRIU has --page-server: the memory of the application goes there, and this stream holds none of it; ' +
	'a restore needs the images of the page server too';

export async function run(options: Options): Promise<void> {
	const session = await openSession(options, CAPTURE_SOCKET);
	let failure: unknown;
	try {
		const control = serveControl(session.workDir, 'capture');
		try {
			const outgoing = await openOutgoing(session.way, {
				warn: session.log.warn,
				listening: () => session.ready(),
			});
			const progress = new Progress(options.progressFd);
			let scriptMayAsk = true;
			try {
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
						const held = control.hasScriptOf(pid);
						return {
							references: references(options.zeroCopy, kind, held, session.log),
							asked: held && kind.asks ? control.finishedAsked : undefined,
						};
					},
					allowIncomplete: options.allowIncomplete,
					signal: control.givenUp,
					log: session.log,
					onStart: () => progress.checkpointStart(),
				});
				const { silent } = await orGivenUp(outgoing.received(), control.givenUp);
				session.log.info(silent ? 'every byte is out' : 'the receiver has the whole image');
				control.finish();
				progress.transferred(summary);
				if (options.displayStats) displayStats('captured', summary);
				if (!scriptMayAsk) return;
				await control.linger(criuClosed);
				// What CRIU wanted to send after the end of its image is missing there.
				await criuClosed;
			} catch (error) {
				const cause = (await outgoing.explain?.(asError(error))) ?? error;
				control.fail(describeError(cause));
				await outgoing.close(asError(cause));
				throw cause;
			}
		} catch (error) {
			control.fail(describeError(error));
			throw error;
		} finally {
			await control.close();
		}
	} catch (error) {
		failure = error;
		throw error;
	} finally {
		await session.close(failure);
	}
}

/** How pages leave. `held`: an action script keeps CRIU from ending the application before this capture allows it. */
function references(mode: Options['zeroCopy'], kind: DumpKind, held: boolean, log: Log): References {
	if (mode === 'never') return 'never';
	if (kind.dies && held) {
		log.info(`moving pages without a copy: ${kind.why}, and not before the action script has its answer`);
		return 'corrected';
	}
	if (mode === 'always') return 'always';
	log.info(
		`copying pages: ${kind.dies ? 'no action script keeps CRIU from ending the application' : kind.why}`,
	);
	return 'never';
}

/** The far end's word, unless the action script leaves before it comes. */
async function orGivenUp<T>(word: Promise<T>, givenUp: AbortSignal): Promise<T> {
	let leave!: () => void;
	const left = new Promise<never>((_, reject) => {
		leave = () => reject(givenUp.reason);
		givenUp.addEventListener('abort', leave);
	});
	try {
		return await Promise.race([word, left]);
	} finally {
		givenUp.removeEventListener('abort', leave);
	}
}

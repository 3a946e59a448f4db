/** serve, and extract without --images-dir: from the shards into memory, and from there to a restoring CRIU. */
import { serveControl } from '../control/server.js';
import { SERVE_SOCKET } from '../criu/socket.js';
import { openSession, type Session } from '../daemon/session.js';
import { FILES } from '../images/names.js';
import type { Options } from '../options/resolve.js';
import { Progress, type ProgressEvents } from '../report/progress.js';
import { remapHeld } from '../restore/remap.js';
import { serve } from '../restore/serve.js';
import { withCleanup } from '../runtime/cleanup-stack.js';
import { HeldStore } from '../stores/held.js';
import type { StreamSummary } from '../stream/summary.js';
import { receive } from './receive.js';

export async function run(options: Options): Promise<void> {
	await withCleanup(async (cleanup) => {
		const session = await openSession(options, SERVE_SOCKET);
		cleanup.defer((failure) => session.close(failure));
		await replayImage(options, session, new Progress(options.progressFd, options.displayStats && 'received'));
	});
}

/** Holds the image of one stream, and serves it. Resolves when the last CRIU has closed its connection. */
export function replayImage(
	options: Options,
	session: Session,
	progress: ProgressEvents,
): Promise<StreamSummary> {
	return withCleanup(async (cleanup) => {
		const control = serveControl(session.workDir, 'serve', options.criuClients);
		cleanup.defer(() => control.close());
		const { keep, memoryLimit, spool, tcpListenRemap } = options;
		const remaps = tcpListenRemap.size > 0;
		const store = new HeldStore({ keep, memoryLimit, spool, log: session.log }, remaps ? FILES : undefined);
		cleanup.defer(() => store.close());
		cleanup.defer((failure) => failure && control.fail(session.describe(failure)));

		const summary = await receive({
			session,
			extFiles: options.extFiles,
			store,
			stored: () => {
				if (remaps) remapHeld(store.image, tcpListenRemap);
			},
		});
		progress.transferred(summary);
		const criu = session.openCriuSocket((pid) => control.connected(pid));
		control.criuSocketReady();
		await session.ready();
		progress.socketInit();
		await serve({ criu, image: store.image, signal: session.signal, warn: session.log.warn });
		return summary;
	});
}

/** extract and serve: from the shards to a restoring CRIU, or into a folder. */

import { serveControl } from '../control/server.js';
import { SERVE_SOCKET } from '../criu/socket.js';
import { openSession, type Session } from '../daemon/session.js';
import type { Options } from '../options/resolve.js';
import { writesFiles } from '../options/together.js';
import { Progress } from '../report/progress.js';
import { displayStats } from '../report/stats.js';
import { fail, unlessAborted } from '../runtime/cancellation.js';
import { asError, describeError } from '../runtime/errors.js';
import { withExtFiles } from '../stores/ext.js';
import { withCorrections } from '../stream/corrected-store.js';
import { load } from '../stream/load.js';
import type { Incoming } from '../stream/shard.js';
import type { Store } from '../stream/store.js';
import type { StreamSummary } from '../stream/summary.js';
import { openIncoming } from '../transports/open.js';

export async function run(options: Options): Promise<void> {
	const toFolder = writesFiles(options);
	const session = await openSession(options, toFolder ? undefined : SERVE_SOCKET);
	let failure: unknown;
	try {
		await (toFolder ? extractTo(options.imagesDir!, options, session) : replay(options, session));
	} catch (error) {
		failure = error;
		throw error;
	} finally {
		await session.close(failure);
	}
}

/** Opens the stream, reads it, calls `stored` when it is whole, and tells the sender how that went. */
async function receive(
	options: Options,
	session: Session,
	store: Store,
	stored: () => Promise<void>,
	opened = async () => {},
): Promise<StreamSummary> {
	let incoming: Incoming | undefined;
	const run = new AbortController();
	try {
		incoming = await openIncoming(session.way, {
			warn: session.log.warn,
			listening: () => session.ready(),
		});
		await opened();
		const corrected = withCorrections(store);
		const routed = withExtFiles(corrected.store, options.extFiles, run.signal);
		const summary = await unlessAborted(run.signal, load(incoming.shards, routed.store, run));
		routed.checkAllCame();
		corrected.apply();
		await stored();
		await incoming.acknowledge();
		return summary;
	} catch (error) {
		fail(run, error);
		await incoming?.close(asError(error));
		throw error;
	}
}

async function extractTo(folder: string, options: Options, session: Session): Promise<void> {
	const { DirectoryStore } = await import('../stores/directory.js');
	const store = new DirectoryStore(folder, options.overwrite);
	try {
		const summary = await receive(
			options,
			session,
			store,
			() => store.finish(),
			() => session.ready(),
		);
		new Progress(options.progressFd).transferred(summary);
		if (options.displayStats) displayStats('extracted', summary);
	} finally {
		store.close();
	}
}

async function replay(options: Options, session: Session): Promise<void> {
	const { HeldStore } = await import('../stores/held.js');
	const { serve } = await import('../restore/serve.js');
	const { FILES, remapHeld } = await import('../restore/remap.js');
	const control = serveControl(session.workDir, 'serve', options.criuClients);
	const { keep, memoryLimit, spool } = options;
	const whole = options.tcpListenRemap.size ? FILES : undefined;
	const store = new HeldStore({ keep, memoryLimit, spool, log: session.log }, whole);
	try {
		const progress = new Progress(options.progressFd);
		const summary = await receive(options, session, store, async () => {
			if (options.tcpListenRemap.size) remapHeld(store.files, options.tcpListenRemap);
		});
		progress.transferred(summary);
		if (options.displayStats) displayStats('received', summary);
		const criu = session.openCriuSocket((pid) => control.connected(pid));
		control.criuSocketReady();
		await session.ready();
		progress.socketInit();
		const warn = (message: string) => session.log.warn(message);
		await serve({ criu, files: store.files, warn });
	} catch (error) {
		control.fail(describeError(error));
		throw error;
	} finally {
		store.close();
		await control.close();
	}
}

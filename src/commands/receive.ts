/** What extract and serve have in common: a stream is read into a store, and its sender is told how that went. */
import type { Session } from '../daemon/session.js';
import { withCleanup } from '../runtime/cleanup-stack.js';
import { asError } from '../runtime/errors.js';
import { Stop } from '../runtime/stop.js';
import { withExtFiles } from '../stores/ext.js';
import { withCorrections } from '../stream/corrected-store.js';
import type { ExtFile } from '../stream/ext-file.js';
import { load } from '../stream/load.js';
import type { Store } from '../stream/store.js';
import type { StreamSummary } from '../stream/summary.js';
import { openIncoming } from '../transports/open.js';

export interface Reception {
	session: Session;
	/** Files of the image that go to descriptors instead of the store. */
	extFiles: readonly ExtFile[];
	store: Store;
	/** Called when the shards are open, and before anything is read. */
	opened?(): Promise<void>;
	/** Called when the whole stream is in the store. The sender is told of success once this resolves. */
	stored(): Promise<void> | void;
}

/** Opens the stream, reads it to its end, and tells the sender. Rejects, and tells that too, where any of it fails. */
export function receive({ session, extFiles, store, opened, stored }: Reception): Promise<StreamSummary> {
	return withCleanup(async (cleanup) => {
		const { signal, way } = session;
		const stop = new Stop();
		const corrected = withCorrections(store);
		const routed = withExtFiles(corrected.store, extFiles, stop);
		cleanup.defer((failure) => failure && routed.close());

		const incoming = await openIncoming(way, {
			warn: session.log.warn,
			listening: () => session.ready(),
			signal,
		});
		cleanup.defer((failure) => failure && incoming.close(asError(failure)));

		const abort = () => stop.fail(signal?.reason);
		signal?.addEventListener('abort', abort);
		if (signal?.aborted) abort();
		cleanup.defer((failure) => {
			signal?.removeEventListener('abort', abort);
			if (failure) stop.fail(failure);
		});

		await opened?.();
		const summary = await Promise.race([load(incoming.shards, routed.store, stop), stop.failed]);
		routed.checkAllCame();
		corrected.apply();
		await stored();
		await incoming.acknowledge();
		return summary;
	});
}

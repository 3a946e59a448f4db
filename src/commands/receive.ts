/** What extract and serve have in common: a stream is read into a store, and the result is reported to its sender. */
import type { Session } from '../daemon/session.js';
import { fail, failWith, unlessAborted } from '../runtime/cancellation.js';
import { withCleanup } from '../runtime/cleanup-stack.js';
import { asError } from '../runtime/errors.js';
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
		const run = new AbortController();
		const corrected = withCorrections(store);
		const routed = withExtFiles(corrected.store, extFiles, run.signal);
		cleanup.defer((failure) => failure && routed.close());

		const incoming = await openIncoming(way, {
			warn: session.log.warn,
			describe: session.describe,
			listening: () => session.ready(),
			signal,
		});
		cleanup.defer((failure) => failure && incoming.close(asError(failure)));

		const release = signal && failWith(run, signal);
		cleanup.defer((failure) => {
			release?.();
			if (failure) fail(run, failure);
		});

		await opened?.();
		const summary = await unlessAborted(run.signal, load(incoming.shards, routed.store, run));
		routed.checkAllReceived();
		corrected.apply(routed.patch);
		await stored();
		await incoming.acknowledge();
		return summary;
	});
}

/** extract with --images-dir: from the shards into the files of a directory, for a plain `criu restore`. */
import { openSession, type Session } from '../daemon/session.js';
import type { Options } from '../options/resolve.js';
import { Progress, type ProgressEvents } from '../report/progress.js';
import { withCleanup } from '../runtime/cleanup-stack.js';
import { DirectoryStore } from '../stores/directory.js';
import type { StreamSummary } from '../stream/summary.js';
import { receive } from './receive.js';

export async function run(options: Options): Promise<void> {
	await withCleanup(async (cleanup) => {
		const session = await openSession(options, undefined);
		cleanup.defer((failure) => session.close(failure));
		await extractFiles(
			options,
			session,
			new Progress(options.progressFd, options.displayStats && 'extracted'),
		);
	});
}

/** Writes the files of one stream. Resolves when they are on the disk under their names, and the sender is notified. */
export function extractFiles(
	options: Options,
	session: Session,
	progress: ProgressEvents,
): Promise<StreamSummary> {
	return withCleanup(async (cleanup) => {
		const store = new DirectoryStore(options.imagesDir!, options.overwrite);
		cleanup.defer(() => store.close());
		const summary = await receive({
			session,
			extFiles: options.extFiles,
			store,
			opened: () => session.ready(),
			stored: () => store.finish(),
		});
		progress.transferred(summary);
		return summary;
	});
}

/** An images directory through a stream into a store, as capture --from and its reader do it. */
import { ImagesDirectory } from '../../src/capture/directory.js';
import { captureDirectory } from '../../src/capture/stored.js';
import { fail } from '../../src/runtime/cancellation.js';
import { load } from '../../src/stream/load.js';
import type { Store } from '../../src/stream/store.js';
import { afterwards } from '../support/cleanup.js';
import { pipe } from '../support/pipe.js';

/** Sends the directory at `path` over two shards into `store`, which is closed when the test ends. */
export async function sendInto(
	store: Store & { close(): void },
	path: string,
	allowIncomplete = false,
): Promise<void> {
	afterwards(() => store.close());
	const directory = await ImagesDirectory.open(path, allowIncomplete);
	const pipes = [pipe(), pipe()];
	const shardOf = ({ fd }: { fd: number }) => ({ fd, name: `shard fd ${fd}`, stallMillis: 0 });
	const run = new AbortController();
	const loading = load(
		pipes.map(({ readEnd }) => shardOf(readEnd)),
		store,
		run,
	);
	loading.catch(() => {});
	try {
		const shards = pipes.map(({ writeEnd }) => shardOf(writeEnd));
		await captureDirectory({ directory, shards, extFiles: [], signal: run.signal });
	} catch (error) {
		fail(run, error);
		await loading.catch(() => {});
		throw error;
	} finally {
		for (const { writeEnd } of pipes) writeEnd.close();
	}
	await loading;
}

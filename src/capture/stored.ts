/** A capture without CRIU: the image is on the disk, with files of the user's beside it. */
import { raiseFileLimit } from '../libc/file-limit.js';
import { fail, failWith } from '../runtime/cancellation.js';
import type { ExtFile } from '../stream/ext-file.js';
import type { Shard } from '../stream/shard.js';
import type { StreamSummary } from '../stream/summary.js';
import type { ImagesDirectory } from './directory.js';
import { sendExtFiles } from './ext-files.js';
import { ImageSender } from './image-sender.js';

export interface StoredJob {
	directory: ImagesDirectory;
	shards: readonly Shard[];
	/** The directory may not have their names. */
	extFiles: readonly ExtFile[];
	/** Ends the capture as failed, for the signal's reason. */
	signal?: AbortSignal | undefined;
}

/**
 * Sends one image. Resolves when the kernel has every byte of the stream; rejects, without an end of the image in the stream, when
 * anything failed.
 */
export async function captureDirectory(job: StoredJob): Promise<StreamSummary> {
	raiseFileLimit();
	const started = performance.now();
	const run = new AbortController();
	const image = new ImageSender(job.shards, run);
	const release = job.signal && failWith(run, job.signal);
	try {
		sendExtFiles(job.extFiles, image);
		image.start(job.directory.send(image));
		await image.settled();
		run.signal.throwIfAborted();
		return await image.end(started);
	} catch (error) {
		fail(run, error);
		await image.settled();
		throw run.signal.reason;
	} finally {
		release?.();
	}
}

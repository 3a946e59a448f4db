/**
 * Sends the files of one image, any number of them at a time, each as a task of its own between two waits of the one poll
 * set. Their source decides which files there are: a dumping CRIU (criu-dump.ts), a directory (directory.ts), descriptors given by
 * the user (capture.ts).
 */
import { poller } from '../libc/poller.js';
import { fail, unlessAborted } from '../runtime/cancellation.js';
import { ShardBalancer } from '../stream/balancer.js';
import { quoteName } from '../stream/image-name.js';
import { ImageWriter } from '../stream/image-writer.js';
import type { Shard } from '../stream/shard.js';
import type { StreamSummary } from '../stream/summary.js';
import { type FilePart, sendParts } from './file-parts.js';
import { sendBytes, sendFile } from './send-file.js';
import type { SourceFile } from './source-file.js';

export class ImageSender {
	readonly #shards: ShardBalancer;
	readonly #image: ImageWriter;
	readonly #names = new Set<string>();
	/** Files of which the end was not written yet. */
	#open = 0;
	/** Wakes {@link whenIdle}. */
	#idle = () => {};
	/** Tasks that have not settled. */
	readonly #tasks = new Set<Promise<void>>();

	/** Any error ends `run`. */
	constructor(
		shards: readonly Shard[],
		readonly run: AbortController,
	) {
		this.#shards = new ShardBalancer(shards, run);
		this.#image = new ImageWriter(this.#shards);
	}

	/** Names of all files that were begun. */
	get names(): ReadonlySet<string> {
		return this.#names;
	}

	/** Whether all files that were begun are at their end. */
	get idle(): boolean {
		return this.#open === 0;
	}

	/**
	 * Resolves when the last open file is at its end; rejects when the run has failed. To be called while there is an open file,
	 * by one caller at a time.
	 */
	whenIdle(): Promise<void> {
		const idle = new Promise<void>((resolve) => {
			this.#idle = resolve;
		});
		return unlessAborted(this.run.signal, idle);
	}

	/** Counts the file `name` as open, before there is a descriptor of it. Throws where it was begun before. */
	begin(name: string): void {
		if (this.#names.has(name)) throw new Error(`${quoteName(name)} comes twice: an image has each file once`);
		this.#names.add(name);
		this.#open++;
	}

	/**
	 * Sends a file that was begun, and closes its descriptor. `check` is called at its end, before it counts as complete, with
	 * whether it has any content; where it throws, the file has failed.
	 */
	async send(file: SourceFile, check?: (filled: boolean) => void): Promise<void> {
		try {
			const filled = await sendFile(file, this.#image, this.run.signal);
			check?.(filled);
			this.#ended();
		} finally {
			poller.close(file.fd);
		}
	}

	/** Sends a file that consists of parts of files on a disk, whose descriptors stay the caller's. */
	async sendParts(name: string, parts: Iterable<FilePart>): Promise<void> {
		this.begin(name);
		await sendParts(name, parts, this.#image);
		this.#ended();
	}

	/** Sends a file that is in memory. */
	async sendBytes(name: string, content: Buffer): Promise<void> {
		this.begin(name);
		await sendBytes(name, content, this.#image);
		this.#ended();
	}

	/** Lets `task` go on in the background; its error ends the run. */
	start(task: Promise<void>): void {
		const settled = task
			.catch((error) => fail(this.run, error))
			.finally(() => {
				this.#tasks.delete(settled);
			});
		this.#tasks.add(settled);
	}

	/** Ends the image; resolves when the kernel has every byte of the stream. `started`: when it began, by performance.now(). */
	async end(started: number): Promise<StreamSummary> {
		await this.#image.endImage();
		const millis = Math.round(performance.now() - started);
		const shards = this.#shards.writers.map(({ written }) => ({ bytes: written, millis }));
		return { shards, files: this.#names.size };
	}

	/** After the run has failed: resolves when no task uses a descriptor any more. */
	async settled(): Promise<void> {
		// A task may have started another one.
		while (this.#tasks.size) await Promise.all(this.#tasks);
	}

	#ended(): void {
		this.#open--;
		if (this.#open === 0) this.#idle();
	}
}

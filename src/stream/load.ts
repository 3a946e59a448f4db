/**
 * Reads a stream into a store: markers in the order of all shards, and behind each its payload, which is moved rather than
 * read where it is large.
 */

import { fail } from '../runtime/cancellation.js';
import { StreamError } from '../runtime/stream-error.js';
import { yieldToEventLoop } from '../runtime/yield.js';
import type { Marker } from './marker.js';
import { type Files, MarkerSequencer } from './sequencer.js';
import type { Shard } from './shard.js';
import { type LastActivity, ShardReader } from './shard-reader.js';
import type { FileWriter, Store } from './store.js';
import type { StreamSummary } from './summary.js';

/**
 * Reads the whole stream, up to the end of every shard, so that a writer to a pipe gets no SIGPIPE. Rejects where it breaks a
 * rule of the format; an error of a shard while another one is read ends `run`.
 */
export async function load(
	shards: readonly Shard[],
	store: Store,
	run: AbortController,
): Promise<StreamSummary> {
	const started = performance.now();
	const activity: LastActivity = { last: 0 };
	const loader = new Loader(
		shards.map((shard) => new ShardReader(shard, run.signal, activity)),
		store,
		run,
	);
	try {
		await loader.run();
	} finally {
		for (const reader of loader.readers) reader.close();
	}
	return {
		shards: loader.readers.map(({ bytes, last }) => ({
			bytes,
			millis: Math.max(0, Math.round(last - started)),
		})),
		files: loader.files,
	};
}

class Loader implements Files<FileWriter> {
	files = 0;
	readonly #order = new MarkerSequencer<FileWriter>(this);
	/** Files that have ended and are not in the image of the store: they went elsewhere. */
	readonly #elsewhere = new Set<string>();
	/** The next marker of each shard, once it is known. */
	readonly #next: (Marker | 'end' | undefined)[];
	/** By shard: the wait for its next marker, while there is one. */
	readonly #waits: (Promise<void> | undefined)[];

	constructor(
		readonly readers: readonly ShardReader[],
		readonly store: Store,
		readonly controller: AbortController,
	) {
		this.#next = readers.map(() => undefined);
		this.#waits = readers.map(() => undefined);
	}

	async run(): Promise<void> {
		for (;;) {
			const others = yieldToEventLoop();
			if (others) await others;
			const due = this.#due();
			if (due >= 0) {
				const waiting = this.#follow(due);
				if (waiting) await waiting;
				continue;
			}
			if (this.#next.every((next) => next === 'end')) break;
			if (this.#next.every((next) => next !== undefined)) throw this.#gap();
			await this.#anyMarker();
		}
		if (!this.#order.done) {
			throw new StreamError(
				'STREAM_INCOMPLETE',
				'the stream ends before the image does: its sender failed, or died, or was cut off',
			);
		}
	}

	/** Executes the next marker of a shard, which is due; undefined where that is done already. */
	#follow(shard: number): Promise<void> | undefined {
		const marker = this.#next[shard] as Marker;
		this.#next[shard] = undefined;
		const step = this.#order.take(marker);
		if (step?.kind === 'data') return this.#payload(this.readers[shard]!, step.file, step.bytes);
		if (step?.kind === 'file-end') {
			step.file.end();
			if (!this.store.image.file(step.name)) this.#elsewhere.add(step.name);
		}
		return undefined;
	}

	begin(name: string): FileWriter {
		this.files++;
		return this.store.create(name);
	}

	hasEnded(name: string): boolean {
		return this.store.image.file(name) !== undefined || this.#elsewhere.has(name);
	}

	/** The shard that has the next marker, or -1. Reads what is there. */
	#due(): number {
		// Runs for every marker: an iterator for each would be most of the garbage.
		for (let i = 0; i < this.readers.length; i++) {
			const next = this.#waits[i] ? undefined : (this.#next[i] ??= this.readers[i]!.tryMarker());
			if (next && next !== 'end' && this.#order.isDue(next)) return i;
		}
		return -1;
	}

	/** The next marker of every shard is known, and none has the next number. */
	#gap(): Error {
		return new StreamError(
			'STREAM_INCOMPLETE',
			`marker ${this.#order.next} is missing: a part of the stream was lost, or not all of its shards are here`,
		);
	}

	async #anyMarker(): Promise<void> {
		const waiting = this.readers.map((reader, i) => {
			if (this.#next[i]) return undefined;
			return (this.#waits[i] ??= this.#more(reader, i));
		});
		await Promise.race(waiting.filter(Boolean));
	}

	/** The wait may outlast the read of another shard, so that its error is not awaited: it ends the run. */
	async #more(reader: ShardReader, i: number): Promise<void> {
		try {
			await reader.more();
		} catch (error) {
			fail(this.controller, error);
			throw error;
		} finally {
			this.#waits[i] = undefined;
		}
	}

	/** Takes the `bytes` behind a marker; undefined where everything was there already. */
	#payload(reader: ShardReader, writer: FileWriter, bytes: number): Promise<void> | undefined {
		const movable = writer.expect(bytes);
		const buffered = reader.takeBuffered(bytes);
		const appended = buffered.length ? writer.append(buffered) : undefined;
		const left = bytes - buffered.length;
		if (appended) return appended.then(() => this.#rest(reader, writer, left, movable));
		const taken = movable ? reader.moveTo(writer, left) : 0;
		return taken === left ? undefined : this.#rest(reader, writer, left - taken, movable);
	}

	async #rest(reader: ShardReader, writer: FileWriter, bytes: number, movable: boolean): Promise<void> {
		for (let left = bytes; left > 0; ) {
			await yieldToEventLoop();
			if (movable) left -= reader.moveTo(writer, left);
			if (movable && reader.canMove(left)) await writer.whenRoom();
			else if (left > 0) left -= await this.#copy(reader, writer, left);
		}
	}

	async #copy(reader: ShardReader, writer: FileWriter, left: number): Promise<number> {
		const bytes = reader.tryRead(left);
		if (bytes) {
			const { length } = bytes;
			await writer.append(bytes);
			return length;
		}
		await reader.more();
		return 0;
	}
}

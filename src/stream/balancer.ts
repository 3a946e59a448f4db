/**
 * All shards of a capture. Of those that have room for a chunk, the one that has got the fewest bytes takes it: equal readers get
 * equal shares, and a slow one never stalls the others. Where there is one shard only, there is no choice: a chunk is begun
 * whether there is room or not.
 *
 * While all shards are full, the kernel tells when one has room again. A pause is made only where it has a little: its reader has
 * three quarters of a pipe left then, and cannot run dry meanwhile.
 */
import { onAbort } from '../libc/abort.js';
import { EPOLLERR, poller } from '../libc/poller.js';
import { StallDetector } from '../runtime/stall.js';
import { firstEnded } from './ended-readers.js';
import type { Shard } from './shard.js';
import { ShardWriter, SMALL } from './shard-writer.js';

/** The first pause, in microseconds. The fastest reader needs about twice as long for three quarters of a pipe. */
const MIN_PAUSE = 50;
/** A reader that stands still costs nothing with this one. */
const MAX_PAUSE = 10_000;

/** A shard that its holder alone may write to, until {@link ShardBalancer.release}. */
export interface ShardLease {
	writer: ShardWriter;
	/** Payload bytes that it takes at once. */
	room: number;
}

export class ShardBalancer {
	readonly writers: readonly ShardWriter[];
	/** The last call that waits for room; calls are served in order. */
	#line: Promise<unknown> | undefined;
	/** Has records that go out in this turn of the event loop. */
	#gathering: ShardWriter | undefined;
	/** Wakes the call that waits for room. */
	#look: (() => void) | undefined;

	/** An error in the background, between two calls, ends `run`. */
	constructor(
		shards: readonly Shard[],
		readonly run: AbortController,
	) {
		this.writers = shards.map((shard) => new ShardWriter(shard, run));
	}

	/**
	 * A shard with enough room for `wanted` bytes, if there is one and no call is waiting. Throws once the run has failed:
	 * nothing more is written then, and above all no end of the image.
	 */
	tryTake(wanted: number): ShardLease | undefined {
		this.run.signal.throwIfAborted();
		if (this.#line) return undefined;
		// Small records go where the last one waits to be written: asking every shard for its room costs a call each. That one may
		// have no room at all, so it is not for a record that would be written by itself.
		const last = this.#gathering;
		if (wanted >= SMALL || !last || last.busy || last.full) return this.#choose(wanted);
		last.busy = true;
		return { writer: last, room: SMALL };
	}

	/** {@link tryTake}, once the calls before this one have been served and there is room. */
	async take(wanted: number): Promise<ShardLease> {
		const before = this.#line;
		const own = (async () => {
			await before?.catch(() => {});
			return this.#whenRoom(wanted);
		})();
		this.#line = own;
		try {
			return await own;
		} finally {
			if (this.#line === own) this.#line = undefined;
		}
	}

	/** Ends a lease; what was appended goes out with what follows in this turn of the event loop. */
	release({ writer }: ShardLease): void {
		writer.busy = false;
		if (writer.full) writer.flushSoon(this.#roomAgain);
		else if (writer.gathers && this.#gathering !== writer) {
			if (!this.#gathering) setImmediate(this.#flush);
			else if (!this.#gathering.busy) this.#gathering.flushSoon(this.#roomAgain);
			this.#gathering = writer;
		}
		this.#look?.();
	}

	/** Resolves when the readers of all shards have taken everything that was written. Nothing may be written meanwhile.
	 * Rejects where the run has failed. */
	async drained(): Promise<void> {
		await Promise.all(this.writers.map((writer) => writer.flush()));
		await Promise.all(this.writers.map((writer) => writer.drained()));
		this.run.signal.throwIfAborted();
	}

	#choose(wanted: number): ShardLease | undefined {
		const [only] = this.writers;
		if (this.writers.length === 1) return only!.busy ? undefined : lease(only!, wanted);
		let best: ShardLease | undefined;
		for (const writer of this.writers) {
			if (writer.busy || (best && writer.written >= best.writer.written)) continue;
			const room = writer.room();
			if (room > 0 && room >= writer.enough(wanted)) best = { writer, room };
		}
		return best && lease(best.writer, best.room);
	}

	async #whenRoom(wanted: number): Promise<ShardLease> {
		const stalls = new Map(
			this.writers.map((writer) => [writer, new StallDetector(writer.shard.stallMillis)]),
		);
		// What was taken before is no progress of this wait.
		for (const [writer, stall] of stalls) writer.checkStall(stall);
		for (let micros = MIN_PAUSE; ; micros = Math.min(micros * 2, MAX_PAUSE)) {
			this.run.signal.throwIfAborted();
			let held = this.#choose(wanted);
			if (!held) {
				await this.#change(stalls);
				held = this.#choose(wanted);
			}
			if (held) return held;
			for (const [writer, stall] of stalls) writer.checkStall(stall);
			await Promise.race([new Promise<void>((resolve) => (this.#look = resolve)), poller.pause(micros)]);
			this.#look = undefined;
		}
	}

	/** Resolves when a shard that is not leased is writable, when one is given back, or when a reader may have stalled. */
	async #change(stalls: Map<ShardWriter, StallDetector>): Promise<void> {
		// Then nothing else waits for a shard that is not busy.
		this.#flush();
		this.run.signal.throwIfAborted();
		const events = await new Promise<number>((resolve) => {
			const ends: (() => void)[] = [];
			const settle = (events = 0) => {
				this.#look = undefined;
				for (const end of ends) end();
				resolve(events);
			};
			this.#look = settle;
			ends.push(onAbort(this.run.signal, settle));
			for (const writer of this.writers) if (!writer.busy) ends.push(writer.onceWritable(settle));
			const left = Math.min(...[...stalls.values()].map((stall) => stall.left));
			const timer = left === Number.POSITIVE_INFINITY ? undefined : setTimeout(settle, left);
			ends.push(() => clearTimeout(timer));
		});
		this.run.signal.throwIfAborted();
		if (events & EPOLLERR) this.#checkReaders();
	}

	/** Throws where a shard is full and its reader is gone: it would stay full. */
	#checkReaders(): void {
		const ended = firstEnded(this.writers.map(({ shard }) => shard.fd));
		if (ended !== undefined) throw this.writers.find(({ shard }) => shard.fd === ended)!.readerGone();
	}

	readonly #roomAgain = () => this.#look?.();

	readonly #flush = () => {
		const writer = this.#gathering;
		this.#gathering = undefined;
		if (!writer?.busy) writer?.flushSoon(this.#roomAgain);
	};
}

function lease(writer: ShardWriter, room: number): ShardLease {
	writer.busy = true;
	return { writer, room };
}

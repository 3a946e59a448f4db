/**
 * Memory for what is read from CRIU. Each buffer has one owner, from {@link Buffers.take} until it is given back; one that is
 * not, after an error, is left to the garbage collector.
 */
import { SMALL } from '../stream/shard-writer.js';

/** Read and written at a time where pages are copied: it stays in the cache of a processor, and is worth two calls. */
const CHUNK = 256 << 10;

class Buffers {
	readonly #spare: Buffer[] = [];

	/** Buffers of `bytes`, of which `kept` wait for later. */
	constructor(
		readonly bytes: number,
		readonly kept: number,
	) {}

	/** A buffer, which the caller owns. */
	take(): Buffer {
		return this.#spare.pop() ?? Buffer.allocUnsafeSlow(this.bytes);
	}

	/** Gives back `buffer`, which came from {@link take}: the caller uses it no more. */
	giveBack(buffer: Buffer): void {
		if (this.#spare.length < this.kept) this.#spare.push(buffer);
	}
}

/** For small files, and for what is copied at once: all files together fill and send about as many at a time (2 MiB). */
export const smallBuffers = new Buffers(SMALL, 32);
/** For large files, of which CRIU writes one or two at a time. */
export const chunkBuffers = new Buffers(CHUNK, 4);

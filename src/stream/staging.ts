/**
 * A pipe of our own between the sender's and the reading of its stream (shard-reader.ts says why). It is filled in one call, with
 * all that the sender's pipe holds.
 */
import { close, splice } from '../libc/calls.js';
import { SPLICE_F_MOVE, SPLICE_F_NONBLOCK } from '../libc/constants.js';
import { callError } from '../libc/errno.js';
import { enlargePipe, LARGEST_PIPE, makePipe } from '../libc/pipes.js';
import type { FileWriter } from './store.js';

/** What was taken out of a sender's pipe and not read yet. */
export class Staging {
	readonly readEnd: number;
	bytes = 0;
	ended = false;
	readonly #writeEnd: number;

	constructor(
		readonly source: number,
		size: number,
	) {
		const made = makePipe();
		if (typeof made === 'number') throw callError('cannot make a pipe for reading a shard', made);
		({ readEnd: this.readEnd, writeEnd: this.#writeEnd } = made);
		enlargePipe(this.readEnd, size);
	}

	/** Takes everything that the sender's pipe holds: how many bytes, 0 at the end, or negative errno. */
	fill(): number {
		const received = splice(
			this.source,
			null,
			this.#writeEnd,
			null,
			LARGEST_PIPE,
			SPLICE_F_MOVE | SPLICE_F_NONBLOCK,
		);
		if (received === 0) this.ended = true;
		if (received > 0) this.bytes += received;
		return received;
	}

	/**
	 * Lets `writer` move up to `bytes` of what was taken, in portions of `min` or more: how many it moved. It stops where the
	 * writer has no room now, and where fewer are left.
	 */
	moveTo(writer: FileWriter, bytes: number, min: number): number {
		let left = bytes;
		for (;;) {
			const here = Math.min(this.bytes, left);
			if (here < min) break;
			const moved = writer.move(this.readEnd, here);
			if (moved <= 0) break;
			this.bytes -= moved;
			left -= moved;
		}
		return bytes - left;
	}

	close(): void {
		close(this.readEnd);
		close(this.#writeEnd);
	}
}

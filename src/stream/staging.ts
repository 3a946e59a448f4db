/**
 * A pipe of our own between the sender's and the reading of its stream (shard-reader.ts says why). It is filled in one call,
 * once the sender has had the time to fill its own.
 */
import { close, splice } from '../libc/calls.js';
import { SPLICE_F_MOVE, SPLICE_F_NONBLOCK } from '../libc/constants.js';
import { callError } from '../libc/errno.js';
import { enlargePipe, LARGEST_PIPE, makePipe } from '../libc/pipes.js';
import { poller } from '../libc/poller.js';
import type { FileWriter } from './store.js';

/** Time for a sender to fill its pipe, in microseconds: a fast one needs about as much for 1 MiB. */
const SHORTEST_PAUSE = 20;
const FIRST_PAUSE = 60;
const LONGEST_PAUSE = 1000;

/** What was taken out of a sender's pipe and not read yet. */
export class Staging {
	readonly readEnd: number;
	bytes = 0;
	ended = false;
	readonly #writeEnd: number;
	#pause = FIRST_PAUSE;
	/** The sender is fast: it is filling its pipe at this moment, and there is no need to wait for a first byte. */
	busy = false;

	constructor(
		readonly source: number,
		readonly size: number,
	) {
		const made = makePipe();
		if (typeof made === 'number') throw callError('cannot make a pipe for reading a shard', made);
		({ readEnd: this.readEnd, writeEnd: this.#writeEnd } = made);
		enlargePipe(this.readEnd, size);
	}

	/** Gives the sender time to fill its pipe. */
	letFill(): Promise<void> {
		return poller.pause(this.#pause);
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
		this.busy = received >= this.size >> 3;
		if (received <= 0) return received;
		this.bytes += received;
		// Once the pipe is full the sender sleeps, and its lock is free: a longer pause is safer than a shorter one.
		if (received >= this.size - (this.size >> 4)) this.#pause = Math.max(SHORTEST_PAUSE, this.#pause * 0.99);
		else this.#pause = Math.min(LONGEST_PAUSE, this.#pause * 1.3);
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

/**
 * Which part of a pipe is in use. A pipe has slots, and each holds a page or a part of one: a marker of 20 bytes takes as much
 * of it as 4 KiB do. The kernel reports bytes only; but a chunk that does not fit after all waits in its shard until the reader
 * has made room, and with it the file that it belongs to. So each write is remembered until it was read.
 */
import { PAGE } from '../libc/constants.js';
import { pagesOf } from '../libc/pipes.js';

interface Written {
	/** Bytes that had been written in all, once this was. */
	end: number;
	slots: number;
}

export class PipeSlots {
	readonly #written: Written[] = [];
	#used = 0;

	/** A pipe of `count` slots. */
	constructor(readonly count: number) {}

	/** `bytes` went into the pipe in one call, and with them `end` in all. */
	took(bytes: number, end: number): void {
		// Bytes that do not begin with a page take one slot more than they fill.
		const slots = pagesOf(bytes) + (bytes >= PAGE ? 1 : 0);
		this.#used += slots;
		this.#written.push({ end, slots });
	}

	/** Slots that are surely free when `read` bytes of the whole stream were read. */
	free(read: number): number {
		let gone = 0;
		while (gone < this.#written.length && this.#written[gone]!.end <= read) {
			this.#used -= this.#written[gone]!.slots;
			gone++;
		}
		if (gone) this.#written.splice(0, gone);
		const first = this.#written[0];
		// Of a write that is read in part, one slot more than its rest fills may be in use.
		const emptied = first ? Math.max(0, first.slots - pagesOf(first.end - read) - 1) : 0;
		return Math.max(0, this.count - this.#used + emptied);
	}
}

/**
 * Pages parked in a pipe: they stay in the kernel where the sender put them, and move on to CRIU by reference. Each is freed
 * as CRIU reads it. One descriptor per MiB, once the write end is closed.
 */
import { buffer, close, read, splice, write } from '../libc/calls.js';
import { PAGE, SPLICE_F_MOVE, SPLICE_F_NONBLOCK } from '../libc/constants.js';
import { callError, EAGAIN, EINTR } from '../libc/errno.js';
import { enlargePipe, makePipe, pagesOf } from '../libc/pipes.js';
import type { Segment } from './segment.js';

/** A pipe that was made smaller than this is not used: each holds a descriptor. */
const MIN_PIPE = 256 << 10;
/** Larger pipes save little, and the kernel must find their rings in one piece. */
const PARKED_PIPE = 1 << 20;

/** A new segment, or why there is none: the negative errno, or 0 where the kernel grants small pipes only. */
export function pipeSegment(): Segment | number {
	const made = makePipe();
	if (typeof made === 'number') return made;
	const size = enlargePipe(made.readEnd, PARKED_PIPE);
	if (size >= MIN_PIPE) return new PipeSegment(made.readEnd, made.writeEnd, Math.floor(size / PAGE));
	close(made.readEnd);
	close(made.writeEnd);
	return 0;
}

class PipeSegment implements Segment {
	readonly inMemory = true;
	bytes = 0;
	readonly #readEnd: number;
	#writeEnd: number;
	/** Slots that are surely free: a slot holds a page or a part of one. */
	#free: number;

	constructor(readEnd: number, writeEnd: number, slots: number) {
		this.#readEnd = readEnd;
		this.#writeEnd = writeEnd;
		this.#free = slots;
	}

	append(from: Buffer): number {
		// Only the kernel knows how many fit: what is written may go on in the last page.
		for (;;) {
			const written = write(this.#writeEnd, from, from.length);
			if (written === -EINTR) continue;
			if (written === -EAGAIN) return 0;
			if (written < 0) throw callError('cannot keep a part of the image in a pipe', written);
			this.bytes += written;
			this.#free -= pagesOf(written);
			return written;
		}
	}

	move(from: number, bytes: number): number {
		if (this.#free <= 0) return 0;
		const fits = Math.min(bytes, this.#free * PAGE);
		const moved = splice(from, null, this.#writeEnd, null, fits, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		// Bytes that do not begin with a page take one slot more than they fill.
		if (moved > 0) {
			this.bytes += moved;
			this.#free -= pagesOf(moved) + (moved % PAGE ? 1 : 0);
		}
		// The sender's pages are in pieces, and took more slots.
		if (moved === -EAGAIN && this.bytes > 0) return 0;
		return moved;
	}

	seal(): void {
		if (this.#writeEnd >= 0) close(this.#writeEnd);
		this.#writeEnd = -1;
	}

	send(_at: number, to: number, bytes: number): number {
		return splice(this.#readEnd, null, to, null, bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	}

	skip(_at: number, bytes: number): void {
		const scratch = buffer(bytes);
		for (let left = bytes; left > 0; ) {
			const got = read(this.#readEnd, scratch, left);
			if (got === -EINTR) continue;
			if (got <= 0) throw callError('cannot correct a part of the image', got || -EAGAIN);
			left -= got;
		}
	}

	release(): void {}

	close(): void {
		this.seal();
		close(this.#readEnd);
	}
}

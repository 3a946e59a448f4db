/** Sends a held file to CRIU: segment by segment, with corrected bytes in place of those that the segments hold. */
import { write } from '../libc/calls.js';
import { bytesWaiting } from '../libc/pipes.js';
import type { Correction } from '../stream/corrections.js';
import type { FileReader } from '../stream/image.js';
import type { SegmentAllocator } from './room.js';
import type { Segment } from './segment.js';

/** Puts into `target`, which holds the bytes of a file from `offset` on, what `patches` have for them. */
export function applyPatches(patches: readonly Correction[], offset: number, target: Uint8Array): void {
	for (const patch of patches) {
		const at = patch.offset - offset;
		if (at >= target.length) break;
		if (at + patch.bytes.length <= 0) continue;
		const part = patch.bytes.subarray(Math.max(0, -at), target.length - at);
		target.set(part, Math.max(0, at));
	}
}

/** One pass over a large file. */
export class Cursor implements FileReader {
	/** In the file, and in the segment. */
	#position = 0;
	#at = 0;
	#index = 0;
	#patch = 0;

	/** With `room` what was read is given back to it, segment by segment, and nothing is kept. */
	constructor(
		readonly name: string,
		readonly segments: Segment[],
		readonly patches: readonly Correction[],
		readonly room: SegmentAllocator | undefined,
	) {}

	send(to: number, bytes: number): number {
		for (;;) {
			const segment = this.segments[this.#index];
			if (!segment) return 0;
			const left = segment.bytes - this.#at;
			if (left > 0) {
				const sent = this.#sendPart(segment, to, Math.min(bytes, left));
				if (sent === 0)
					throw new Error(`a part of ${this.name} is missing: this is a bug in criu-pipe-streamer`);
				if (sent < 0) return sent;
				this.#at += sent;
				this.#position += sent;
				// What still waits in CRIU's pipe must not be touched.
				if (this.room) segment.release(Math.max(0, this.#at - bytesWaiting(to)));
				if (this.#at < segment.bytes) return sent;
				if (!this.room) this.#next();
				else this.#giveBack(segment);
				return sent;
			}
			if (this.room) this.#giveBack(segment);
			else this.#next();
		}
	}

	/** Sends up to the next patch, or from there on what the patch has for this segment. */
	#sendPart(segment: Segment, to: number, bytes: number): number {
		let patch = this.patches[this.#patch];
		while (patch && patch.offset + patch.bytes.length <= this.#position) patch = this.patches[++this.#patch];
		if (!patch) return segment.send(this.#at, to, bytes);
		const into = this.#position - patch.offset;
		if (into < 0) return segment.send(this.#at, to, Math.min(bytes, -into));
		const part = patch.bytes.subarray(into, into + bytes);
		const sent = write(to, part, part.length);
		if (sent > 0) segment.skip(this.#at, sent);
		return sent;
	}

	/** Frees what was not sent, unless it is kept. */
	close(): void {
		if (!this.room) return;
		while (this.segments[0]) this.#giveBack(this.segments[0]);
	}

	#next(): void {
		this.#index++;
		this.#at = 0;
	}

	#giveBack(segment: Segment): void {
		this.segments.shift();
		this.#at = 0;
		segment.close();
		this.room!.gone(segment, segment.bytes);
	}
}

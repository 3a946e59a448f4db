/**
 * A large file of a held image: segments in order (room.ts decides what each of them is), from which CRIU takes the pages
 * themselves.
 */
import { callError, EAGAIN, EINTR } from '../libc/errno.js';
import { StreamError } from '../runtime/stream-error.js';
import type { Correction } from '../stream/corrections.js';
import type { FileReader, ReadableFile } from '../stream/image.js';
import { quoteName } from '../stream/image-name.js';
import { applyPatches, Cursor } from './cursor.js';
import type { SegmentAllocator } from './room.js';
import type { Segment } from './segment.js';

/** Whole pages, and enough of them to be worth a call. */
const BLOCK = 64 << 10;

export class LargeFile implements ReadableFile {
	readonly #segments: Segment[] = [];
	/** Ascending, without overlaps; applied on the way to CRIU, since what a pipe holds cannot be changed. */
	readonly #patches: Correction[] = [];
	/** Appended bytes: a pipe would spend a page on each small piece. */
	#block: Buffer | undefined;
	#inBlock = 0;
	#size = 0;
	#opened = false;
	/** The last segment takes no more. */
	#full = false;

	/** Owns the segments that it takes from `room`. */
	constructor(
		readonly name: string,
		readonly room: SegmentAllocator,
	) {}

	append(bytes: Buffer): void {
		this.#block ??= Buffer.allocUnsafe(BLOCK);
		for (let at = 0; at < bytes.length; ) {
			const copied = bytes.copy(this.#block, this.#inBlock, at);
			at += copied;
			this.#inBlock += copied;
			if (this.#inBlock === BLOCK) this.#writeBlock();
		}
	}

	/** As {@link FileWriter.move} of a store. */
	move(from: number, bytes: number): number {
		this.#writeBlock();
		for (;;) {
			const moved = this.#last().move(from, bytes);
			if (moved < 0) {
				if (moved === -EAGAIN || moved === -EINTR) return -EAGAIN;
				throw callError(`cannot keep ${this.name}`, moved);
			}
			this.#took(moved);
			if (moved > 0) return moved;
			if (this.#segments.at(-1)!.bytes === 0)
				throw new Error(`bytes of ${this.name} vanished from the stream`);
		}
	}

	/** Nothing more comes. */
	seal(): void {
		this.#writeBlock();
		this.#block = undefined;
		this.#segments.at(-1)?.seal();
	}

	get size(): number {
		return this.#size;
	}

	patch(offset: number, bytes: Uint8Array): void {
		this.#patches.push({ offset, bytes });
	}

	open(): FileReader {
		const { keep } = this.room.options;
		if (this.#opened && !keep) {
			throw new StreamError(
				'ASKED_TWICE',
				`CRIU asked for ${quoteName(this.name)} a second time, and its pages went to CRIU with the first request`,
			);
		}
		this.#opened = true;
		const segments = keep ? [...this.#segments] : this.#segments;
		return new Cursor(this.name, segments, this.#patches, keep ? undefined : this.room);
	}

	/** Of a file that is not kept: before a reader has taken its first segment. */
	readAt(offset: number, target: Uint8Array): number | undefined {
		let start = 0;
		let copied = 0;
		for (const segment of this.#segments) {
			const from = offset + copied - start;
			start += segment.bytes;
			if (copied === target.length) break;
			if (from >= segment.bytes) continue;
			if (!segment.readAt) return undefined;
			copied += segment.readAt(from, target.subarray(copied, copied + segment.bytes - from));
		}
		applyPatches(this.#patches, offset, target.subarray(0, copied));
		return copied;
	}

	close(): void {
		for (const segment of this.#segments.splice(0)) segment.close();
	}

	/** Moves what was appended into segments. */
	#writeBlock(): void {
		for (let at = 0; at < this.#inBlock; ) {
			const taken = this.#last().append(this.#block!.subarray(at, this.#inBlock));
			this.#took(taken);
			at += taken;
		}
		this.#inBlock = 0;
	}

	#last(): Segment {
		const last = this.#segments.at(-1);
		if (last && !this.#full) return last;
		last?.seal();
		this.#full = false;
		const next = this.room.next();
		this.#segments.push(next);
		return next;
	}

	#took(bytes: number): void {
		this.#size += bytes;
		const full = this.room.took(this.#segments.at(-1)!, bytes);
		this.#full = bytes === 0 || full;
	}
}

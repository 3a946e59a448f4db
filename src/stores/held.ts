/**
 * The image of a replay, held until CRIU asks for it: small files in ordinary buffers, which can be asked for again and
 * again, and large ones in segments (see room.ts), from which CRIU takes the pages themselves.
 */
import { callError, EAGAIN, EINTR } from '../libc/errno.js';
import { StreamError } from '../runtime/stream-error.js';
import { quoteName } from '../stream/image-name.js';
import type { FileWriter, Store } from '../stream/store.js';
import { Cursor, type Patch } from './cursor.js';
import { type AllocatorOptions, SegmentAllocator } from './room.js';
import type { Segment } from './segment.js';

/** Files up to this size stay in buffers. */
export const MAX_SMALL_FILE = 64 << 10;

/** Whole pages, and enough of them to be worth a call. */
const BLOCK = 64 << 10;

/** files.img of half a million open files. */
const MAX_WHOLE = 64 << 20;

/** A file that waits for CRIU. */
export type HeldFile = { kind: 'small'; data: Buffer } | { kind: 'large'; file: LargeFile };

export class HeldStore implements Store {
	readonly files = new Map<string, HeldFile>();
	readonly #room: SegmentAllocator;

	/** `whole`: a file that stays in a buffer whatever its size, because it is read here. */
	constructor(
		readonly options: AllocatorOptions,
		readonly whole?: string,
	) {
		this.#room = new SegmentAllocator(options);
	}

	create(name: string): FileWriter {
		const most = name === this.whole ? MAX_WHOLE : MAX_SMALL_FILE;
		return new HeldWriter(name, most, this.#room, this.files);
	}

	patch(name: string, offset: number, bytes: Uint8Array): void {
		const held = this.files.get(name);
		const size = held?.kind === 'large' ? held.file.size : (held?.data.length ?? 0);
		if (offset + bytes.length > size) throw notThere(name, offset);
		if (held!.kind === 'large') held!.file.patches.push({ offset, bytes });
		else held!.data.set(bytes, offset);
	}

	/** Frees everything that CRIU has not read. */
	close(): void {
		// First: there is no need to give back part after part of a file that goes as a whole.
		this.#room.close();
		for (const held of this.files.values()) if (held.kind === 'large') held.file.close();
		this.files.clear();
	}
}

class HeldWriter implements FileWriter {
	#parts: Buffer[] = [];
	#size = 0;
	#large: LargeFile | undefined;

	constructor(
		readonly name: string,
		readonly most: number,
		readonly room: SegmentAllocator,
		readonly files: Map<string, HeldFile>,
	) {}

	expect(bytes: number): boolean {
		if (this.#large) return true;
		if (this.#size + bytes <= this.most) return false;
		this.#large = new LargeFile(this.name, this.room);
		// Known from here on, so that it is let go of when the stream fails.
		this.files.set(this.name, { kind: 'large', file: this.#large });
		this.room.gone(undefined, this.#size);
		for (const part of this.#parts) this.#large.append(part);
		this.#parts = [];
		return true;
	}

	append(bytes: Buffer): undefined {
		this.#size += bytes.length;
		if (this.#large) this.#large.append(bytes);
		else {
			this.#parts.push(Buffer.from(bytes));
			this.room.took(undefined, bytes.length);
		}
	}

	move(from: number, bytes: number): number {
		return this.#large!.move(from, bytes);
	}

	whenRoom(): Promise<void> {
		return Promise.resolve();
	}

	end(): void {
		if (this.#large) this.#large.seal();
		else {
			const data = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
			this.files.set(this.name, { kind: 'small', data });
		}
	}
}

/** A file in segments, in order. */
export class LargeFile {
	readonly #segments: Segment[] = [];
	/** Ascending, without overlaps; applied on the way to CRIU, since what a pipe holds cannot be changed. */
	readonly patches: Patch[] = [];
	/** Appended bytes: a pipe would spend a page on each small piece. */
	#block: Buffer | undefined;
	#gathered = 0;
	#size = 0;
	#opened = false;

	constructor(
		readonly name: string,
		readonly room: SegmentAllocator,
	) {}

	append(bytes: Buffer): void {
		this.#block ??= Buffer.allocUnsafe(BLOCK);
		for (let at = 0; at < bytes.length; ) {
			const copied = bytes.copy(this.#block, this.#gathered, at);
			at += copied;
			this.#gathered += copied;
			if (this.#gathered === BLOCK) this.#writeBlock();
		}
	}

	/** What was appended goes into segments. */
	#writeBlock(): void {
		for (let at = 0; at < this.#gathered; ) {
			const taken = this.#last().append(this.#block!.subarray(at, this.#gathered));
			this.#took(taken);
			at += taken;
		}
		this.#gathered = 0;
	}

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

	seal(): void {
		this.#writeBlock();
		this.#block = undefined;
		this.#segments.at(-1)?.seal();
	}

	/**
	 * To send the file to CRIU, from its beginning. Without --keep its pages go away with it: a second time is an error
	 * that says so.
	 */
	open(): Cursor {
		const { keep } = this.room.options;
		if (this.#opened && !keep) {
			throw new StreamError(
				'ASKED_TWICE',
				`CRIU asked for ${quoteName(this.name)} a second time, and its pages went to CRIU with the first`,
			);
		}
		this.#opened = true;
		const segments = keep ? [...this.#segments] : this.#segments;
		return new Cursor(this.name, segments, this.patches, keep ? undefined : this.room);
	}

	get size(): number {
		return this.#size;
	}

	close(): void {
		for (const segment of this.#segments.splice(0)) segment.close();
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

	/** What follows needs a new segment. */
	#full = false;

	#took(bytes: number): void {
		this.#size += bytes;
		const crowded = this.room.took(this.#segments.at(-1)!, bytes);
		this.#full = bytes === 0 || crowded;
	}
}

function notThere(name: string, offset: number): Error {
	return new Error(`the image has no byte ${offset} of ${quoteName(name)}, which it corrects: it is damaged`);
}

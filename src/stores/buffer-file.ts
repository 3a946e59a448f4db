/** A small file of a held image, in memory that other files may share: it can be read any number of times. */
import { write } from '../libc/calls.js';
import type { FileReader, ReadableFile } from '../stream/image.js';

/** An image may have a million of these, so each is one object of a few fields. */
export class BufferFile implements ReadableFile {
	/** Owns the `size` bytes of `memory` from `from` on. */
	constructor(
		readonly name: string,
		readonly memory: Buffer,
		readonly from = 0,
		readonly size = memory.length,
	) {}

	open(): FileReader {
		return new BufferReader(this.memory, this.from, this.from + this.size);
	}

	readAt(offset: number, target: Uint8Array): number {
		const start = this.from + Math.min(offset, this.size);
		return this.memory.copy(target, 0, start, this.from + this.size);
	}

	patch(offset: number, bytes: Uint8Array): void {
		this.memory.set(bytes, this.from + offset);
	}
}

class BufferReader implements FileReader {
	#at: number;

	constructor(
		readonly memory: Buffer,
		from: number,
		readonly end: number,
	) {
		this.#at = from;
	}

	send(to: number, bytes: number): number {
		const length = Math.min(bytes, this.end - this.#at);
		if (!length) return 0;
		const written = write(to, this.memory.subarray(this.#at), length);
		if (written > 0) this.#at += written;
		return written;
	}

	close(): void {}
}

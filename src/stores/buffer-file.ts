/** A small file of a held image, in an ordinary buffer: it can be read any number of times. */
import { write } from '../libc/calls.js';
import type { FileReader, ReadableFile } from '../stream/image.js';

export class BufferFile implements ReadableFile {
	/** Owns `data`. */
	constructor(
		readonly name: string,
		readonly data: Buffer,
	) {}

	get size(): number {
		return this.data.length;
	}

	open(): FileReader {
		return new BufferReader(this.data);
	}

	readAt(offset: number, target: Uint8Array): number {
		return this.data.copy(target, 0, offset);
	}

	patch(offset: number, bytes: Uint8Array): void {
		this.data.set(bytes, offset);
	}
}

class BufferReader implements FileReader {
	#at = 0;

	constructor(readonly data: Buffer) {}

	send(to: number, bytes: number): number {
		const part = this.data.subarray(this.#at, this.#at + bytes);
		if (!part.length) return 0;
		const written = write(to, part, part.length);
		if (written > 0) this.#at += written;
		return written;
	}

	close(): void {}
}

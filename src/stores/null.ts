/**
 * Takes an image, and keeps no more than the names and sizes of its files: to check a stream, or to measure one. Pages go
 * to /dev/null by reference, so that nothing is copied.
 */
import { closeSync, openSync } from 'node:fs';
import { splice } from '../libc/calls.js';
import { SPLICE_F_MOVE, SPLICE_F_NONBLOCK } from '../libc/constants.js';
import { callError, EAGAIN, EINTR } from '../libc/errno.js';
import { Image, type StoredFile } from '../stream/image.js';
import type { FileWriter, Store } from '../stream/store.js';

export class NullStore implements Store {
	readonly image = new Image();
	readonly #devNull = openSync('/dev/null', 'w');

	create(name: string): FileWriter {
		return new NullWriter(name, this.#devNull, this.image);
	}

	close(): void {
		closeSync(this.#devNull);
	}
}

class NullWriter implements FileWriter, StoredFile {
	size = 0;

	constructor(
		readonly name: string,
		readonly devNull: number,
		readonly image: Image,
	) {}

	expect(): boolean {
		return true;
	}

	append(bytes: Buffer): undefined {
		this.size += bytes.length;
	}

	move(from: number, bytes: number): number {
		const moved = splice(from, null, this.devNull, null, bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (moved === -EINTR || moved === -EAGAIN) return -EAGAIN;
		if (moved < 0) throw callError(`cannot discard ${this.name}`, moved);
		this.size += moved;
		return moved;
	}

	whenRoom(): Promise<void> {
		return Promise.resolve();
	}

	end(): void {
		this.image.add(this);
	}

	patch(): void {}
}

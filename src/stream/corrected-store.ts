/**
 * Applies the corrections of a stream (stream/corrections.ts) to what a store holds, once the stream is whole. The file itself
 * is no part of the image, and is not stored.
 */

import { CORRECTIONS, decodeCorrections, MAX_CORRECTIONS_BYTES } from './corrections.js';
import type { Image } from './image.js';
import type { FileWriter, Store } from './store.js';

/** `store`, but without the file of corrections. */
export function withCorrections(store: Store) {
	let writer: CorrectionsWriter | undefined;
	return {
		store: {
			image: store.image,
			create: (name: string) =>
				name === CORRECTIONS ? (writer = new CorrectionsWriter()) : store.create(name),
		},
		/** Calls `patch` with each correction of the whole image. */
		apply(patch: Image['patch']): void {
			if (!writer) return;
			for (const [name, ranges] of decodeCorrections(writer.content))
				for (const { offset, bytes } of ranges) patch(name, offset, bytes);
		},
	};
}

/** Holds the file in memory. */
class CorrectionsWriter implements FileWriter {
	#parts: Buffer[] = [];
	#size = 0;

	get content(): Buffer {
		return Buffer.concat(this.#parts);
	}

	expect(bytes: number): boolean {
		this.#size += bytes;
		if (this.#size > MAX_CORRECTIONS_BYTES)
			throw new Error(`${CORRECTIONS} is larger than ${MAX_CORRECTIONS_BYTES} bytes: the stream is damaged`);
		return false;
	}

	append(bytes: Buffer): undefined {
		this.#parts.push(Buffer.from(bytes));
	}

	move(): number {
		throw new Error(`${CORRECTIONS} is never moved`);
	}

	whenRoom(): Promise<void> {
		return Promise.resolve();
	}

	end(): void {}
}

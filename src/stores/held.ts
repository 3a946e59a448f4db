/**
 * The image of a replay, held until CRIU asks for it: small files in slabs, large ones in segments, from which CRIU
 * takes the pages themselves.
 */
import { Image, type ReadableFile } from '../stream/image.js';
import type { FileWriter, Store } from '../stream/store.js';
import { LargeFile } from './large-file.js';
import { type AllocatorOptions, SegmentAllocator } from './room.js';
import { Slabs } from './slabs.js';

/** Files up to this size go to slabs. */
export const MAX_SMALL_FILE = 64 << 10;

/** A file that has to stay in one piece is no larger than this: files.img of half a million open files. */
export const MAX_WHOLE_FILE = 64 << 20;

export class HeldStore implements Store {
	readonly image = new Image<ReadableFile>();
	readonly #room: SegmentAllocator;
	readonly #slabs = new Slabs();
	/** Those that have begun. */
	readonly #large = new Set<LargeFile>();

	/** `whole`: a file that stays in one piece whatever its size, because it is read here. */
	constructor(
		readonly options: AllocatorOptions,
		readonly whole?: string,
	) {
		this.#room = new SegmentAllocator(options);
	}

	create(name: string): FileWriter {
		const maxSmall = name === this.whole ? MAX_WHOLE_FILE : MAX_SMALL_FILE;
		return new HeldWriter(name, maxSmall, this.#room, this.#slabs, this.image, this.#large);
	}

	/** Frees everything that CRIU has not read. */
	close(): void {
		// First: there is no need to give back part after part of a file that goes as a whole.
		this.#room.close();
		for (const file of this.#large) file.close();
		this.#large.clear();
		this.image.clear();
	}
}

class HeldWriter implements FileWriter {
	#parts: Buffer[] = [];
	#size = 0;
	#large: LargeFile | undefined;

	constructor(
		readonly name: string,
		readonly maxSmall: number,
		readonly room: SegmentAllocator,
		readonly slabs: Slabs,
		readonly image: Image<ReadableFile>,
		readonly allLarge: Set<LargeFile>,
	) {}

	expect(bytes: number): boolean {
		if (this.#large) return true;
		if (this.#size + bytes <= this.maxSmall) return false;
		this.#large = new LargeFile(this.name, this.room);
		this.allLarge.add(this.#large);
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
		if (this.#large) {
			this.#large.seal();
			this.image.add(this.#large);
			return;
		}
		this.image.add(this.slabs.file(this.name, this.#parts, this.#size));
	}
}

/**
 * An image: the files of one dump, as a store has them. This is what a restore, or anything else that looks at an image, is
 * given; where the bytes are is known to the store alone.
 */
import { quoteName } from './image-name.js';

/** A complete file. */
export interface StoredFile {
	readonly name: string;
	/** In bytes. */
	readonly size: number;
	/**
	 * Replaces what the file holds from `offset` on by `bytes` (PIPE_BUF at most). Calls come in ascending order without
	 * overlaps, and `offset + bytes.length` is at most {@link size}.
	 * @throws where the store cannot replace anything: the file has left it already
	 */
	patch(offset: number, bytes: Uint8Array): void;
}

/** A file whose content the store can give. */
export interface ReadableFile extends StoredFile {
	/**
	 * Opens the file for one reader, at its beginning.
	 * @throws StreamError `ASKED_TWICE` where its pages went away with the reader before
	 */
	open(): FileReader;
	/**
	 * Copies bytes from `offset` on into `target`. Returns how many, fewer than `target` has only at the end of the file;
	 * undefined where the store has no random access to them, because they are in pipes.
	 */
	readAt(offset: number, target: Uint8Array): number | undefined;
}

/** One pass over a file, in order. */
export interface FileReader {
	/** Moves up to `bytes` into the pipe `to`: how many, 0 at the end of the file, or negative errno. */
	send(to: number, bytes: number): number;
	/** Ends the pass, wherever it is. */
	close(): void;
}

/** `F`: what the store can do with its files. */
export class Image<F extends StoredFile = StoredFile> {
	readonly #files = new Map<string, F>();

	/** Adds a complete file, or replaces the one of the same name. */
	add(file: F): void {
		this.#files.set(file.name, file);
	}

	file(name: string): F | undefined {
		return this.#files.get(name);
	}

	/** In the order in which they became complete. */
	get files(): IterableIterator<F> {
		return this.#files.values();
	}

	/**
	 * Replaces what the file `name` holds from `offset` on by `bytes`; see {@link StoredFile.patch}.
	 * @throws where the image has no such place
	 */
	patch(name: string, offset: number, bytes: Uint8Array): void {
		const file = this.#files.get(name);
		if (!file || offset + bytes.length > file.size)
			throw new Error(
				`the image has no byte ${offset} of ${quoteName(name)}, which it corrects: it is damaged`,
			);
		file.patch(offset, bytes);
	}

	/** Drops all files. */
	clear(): void {
		this.#files.clear();
	}
}

/**
 * Where the files of an image go. Each kind of store takes bytes from memory and, where it can, pages from a pipe by
 * reference; the reader of the stream (load.ts) needs no more than these interfaces.
 */
import type { Image } from './image.js';

/** Takes one file of the image, from its beginning. */
export interface FileWriter {
	/** `bytes` follow next: where they go may depend on it. Returns whether they may come by {@link move}. */
	expect(bytes: number): boolean;
	/** Takes a copy of `bytes`. A promise where that has to be waited for. */
	append(bytes: Buffer): Promise<void> | undefined;
	/**
	 * Moves up to `bytes`, which are known to wait in the pipe `from`. Returns how many; -EAGAIN: none now; wait
	 * for {@link whenRoom}.
	 * @throws on any other error of the kernel
	 */
	move(from: number, bytes: number): number;
	/** Resolves when {@link move} can go on. */
	whenRoom(): Promise<void>;
	/** The file is complete. */
	end(): void;
}

/** Takes the files of one image. */
export interface Store {
	/** The files that are complete. */
	readonly image: Image;
	/** Begins a file; each name comes once. */
	create(name: string): FileWriter;
}

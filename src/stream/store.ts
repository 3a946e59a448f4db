/**
 * Where the files of a stream go. Each kind of store takes bytes from memory and, where it can, pages from a pipe by
 * reference; the reader of the stream (load.ts) knows no more of it.
 */

/** Takes one file of the image, from its beginning. */
export interface FileWriter {
	/** So many bytes follow next: where they go may depend on it. Says whether they may come by {@link move}. */
	expect(bytes: number): boolean;
	/** Takes a copy of `bytes`. A promise where that has to be waited for. */
	append(bytes: Buffer): Promise<void> | undefined;
	/**
	 * Moves up to `bytes`, which are known to wait in the pipe `from`. Returns how many; -EAGAIN: nothing now, and
	 * {@link whenRoom} tells when again. Throws on what cannot be mended.
	 */
	move(from: number, bytes: number): number;
	/** Resolves when {@link move} can go on. */
	whenRoom(): Promise<void>;
	/** The file is complete. */
	end(): void;
}

/** Takes the files of one image. */
export interface Store {
	/** Begins a file; each name comes once. */
	create(name: string): FileWriter;
	/**
	 * Replaces what the complete file `name` holds from `offset` on by `bytes` (PIPE_BUF at most). Ascending, without overlaps.
	 * Throws where the store has no such place.
	 */
	patch(name: string, offset: number, bytes: Uint8Array): void;
}

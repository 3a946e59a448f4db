/** A part of a large file that waits for CRIU: in a pipe, or in a file without a name. */
export interface Segment {
	/** Its content is in memory. */
	readonly inMemory: boolean;
	/** Bytes that it holds. */
	bytes: number;
	/** Takes up to all of `from` (memory), copied; how many bytes, 0 where it is full. */
	append(from: Buffer): number;
	/** Takes up to `bytes` from the pipe `from` by reference; 0 where it is full, or negative errno. */
	move(from: number, bytes: number): number;
	/** Nothing more comes: closes what only writing needs. */
	seal(): void;
	/**
	 * Moves up to `bytes`, from `at` on, into the pipe `to`; negative errno. A pipe's can only be taken in order, and once.
	 */
	send(at: number, to: number, bytes: number): number;
	/** Copies what it holds from `at` on into `target`, all of which it holds; undefined in a pipe, which has no offsets. */
	readAt?(at: number, target: Uint8Array): number;
	/** Leaves out `bytes` from `at` on: they are sent from elsewhere. */
	skip(at: number, bytes: number): void;
	/** Everything before `at` was read by CRIU and will not be asked for again. */
	release(at: number): void;
	close(): void;
}

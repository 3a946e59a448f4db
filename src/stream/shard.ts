/** What carries a part of the stream: any descriptor that bytes can be written to or read from. */
export interface Shard {
	/** A pipe, a stream socket or a regular file. The transport that made the Shard closes it. */
	readonly fd: number;
	/** For messages: "shard fd 10", "tcp://10.0.0.1:7000". */
	readonly name: string;
	/** Milliseconds without progress after which the other side counts as dead; 0: no limit. */
	readonly stallMillis: number;
}

/** Where a capture writes. */
export interface Outgoing {
	readonly shards: readonly Shard[];
	/** Once the stream is received, nothing refers to the pages that were moved into the shards: each has a copy. */
	readonly copies: boolean;
	/**
	 * Called when every shard has its last byte: ends the shards (a reader sees the end of input) and resolves once the far
	 * end has confirmed the whole image, or at once where there is no way to answer (pipes, files, descriptors of the user's).
	 * `silent` is true in the latter case. Rejects with the far end's reason, or when it dies or goes silent.
	 */
	received(): Promise<{ silent: boolean }>;
	/**
	 * After writing to a shard failed with `error`: the far end's own error, where it has sent one (it refused the
	 * stream, its disk is full), else `error`. Called before {@link close}.
	 */
	explain?(error: Error): Promise<Error>;
	/** Tells the far end, where there is a way, that the stream failed, and closes everything. Safe to call twice. */
	close(error?: Error): Promise<void>;
}

/** Where an extract or a serve reads. */
export interface Incoming {
	readonly shards: readonly Shard[];
	/** The whole image is here (and stored, for an extract to disk): tells the sender, where there is a way. */
	acknowledge(): Promise<void>;
	/** Tells the sender, where there is a way, why the image was refused, and closes everything. Safe to call twice. */
	close(error?: Error): Promise<void>;
}

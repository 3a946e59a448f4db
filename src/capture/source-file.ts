/** A file of the image before it is sent, from any source: CRIU, a directory, a descriptor of the user's. */
export interface SourceFile {
	name: string;
	/** Non-blocking, or a regular file. Its owner is the caller of sendFile: as a rule an ImageSender, which closes it. */
	fd: number;
	/**
	 * - reference: from a pipe, whose pages do not change before every reader of the stream has done with them;
	 * - copy: its content does not change before the stream is delivered;
	 * - copy at once: it changes soon after the pipe was closed.
	 */
	by: 'reference' | 'copy' | 'copy at once';
	/** Told what is in a copied file. */
	keep?: Keeper | undefined;
}

/** Keeps what it needs of a file that passes through. */
export interface Keeper {
	/** The next part, which is overwritten after the call. */
	part(bytes: Buffer): void;
	/** The file is at its end. */
	end(): void;
}

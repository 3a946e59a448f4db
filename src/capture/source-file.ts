/** A file of the image before it is sent, from any source: CRIU, a directory, a descriptor of the user's. */
import { read } from '../libc/calls.js';
import { callError, EAGAIN, EINTR } from '../libc/errno.js';
import { EPOLLIN } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';

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

/** Reads into `memory` once there is something: how many bytes, 0 at the end of the file. */
export async function readPart(
	{ name, fd }: Pick<SourceFile, 'name' | 'fd'>,
	memory: Buffer,
	signal: AbortSignal,
): Promise<number> {
	for (;;) {
		const got = read(fd, memory, memory.length);
		if (got >= 0) return got;
		if (got === -EAGAIN) await waitFor(fd, EPOLLIN, { signal });
		else if (got !== -EINTR) throw callError(`cannot read ${name}`, got);
	}
}

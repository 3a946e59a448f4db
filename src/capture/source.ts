/** Where a capture takes a file from. */
import { EPOLLIN, poller } from '../libc/poller.js';
import type { Stop } from '../runtime/stop.js';

/** A file of the image on its way in. */
export interface Source {
	name: string;
	/** Non-blocking, or a regular file. Whoever started the reading closes it. */
	fd: number;
	/** By reference: from a pipe whose pages nobody will write to again. */
	by: 'reference' | 'copy';
	/** Is shown each part of a copied file; what it needs of it has to be copied. */
	keep?: ((part: Buffer) => void) | undefined;
}

/** Resolves when there is something to read, or the end. */
export async function readable(fd: number, stop: Stop): Promise<void> {
	stop.check();
	const release = stop.onFail(() => poller.interrupt(fd));
	await poller.until(fd, EPOLLIN);
	release();
	stop.check();
}

/** One file on its way into the pipe that CRIU has handed over for it. */
import { callError, EAGAIN, EINTR, EPIPE } from '../libc/errno.js';
import { enlargePipe } from '../libc/pipes.js';
import { EPOLLOUT, poller } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import { yieldToEventLoop } from '../runtime/yield.js';
import type { FileReader, ReadableFile } from '../stream/image.js';

/** The size of a pipe that was not enlarged: it takes a file of as much at once. */
const DEFAULT_PIPE = 64 << 10;

export class Transfer {
	/** Owns `reader` and `pipe`. */
	constructor(
		readonly file: ReadableFile,
		readonly reader: FileReader,
		readonly pipe: number,
	) {}

	/** Sends a small file at once, and closes everything; false: {@link all} has to send the file, or the rest of it. */
	tryAll(): boolean {
		if (this.file.size > DEFAULT_PIPE) return false;
		for (;;) {
			const sent = this.reader.send(this.pipe, DEFAULT_PIPE);
			if (sent > 0) continue;
			// all() repeats the call, and handles the error.
			if (sent !== 0) return false;
			this.close();
			return true;
		}
	}

	/** Resolves when CRIU's pipe has the whole file, or CRIU has closed it. */
	async all(signal: AbortSignal): Promise<void> {
		const { file, pipe } = this;
		const pipeBytes = file.size > DEFAULT_PIPE ? enlargePipe(pipe) : DEFAULT_PIPE;
		for (;;) {
			const sent = this.reader.send(pipe, pipeBytes);
			if (sent === 0 || sent === -EPIPE) return;
			if (sent > 0 || sent === -EINTR) {
				await yieldToEventLoop();
				signal.throwIfAborted();
				continue;
			}
			if (sent !== -EAGAIN) throw callError(`cannot send ${file.name} to CRIU`, sent);
			await waitFor(pipe, EPOLLOUT, { signal });
		}
	}

	close(): void {
		this.reader.close();
		poller.close(this.pipe);
	}
}

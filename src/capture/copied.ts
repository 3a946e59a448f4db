/**
 * A large file whose pages are copied on their way, for shards that may hold references for longer than the application stays
 * stopped. Until the stream is delivered nothing changes them, so they may wait in CRIU's pipe, which is as large as it can be:
 * each time when CRIU is woken to fill it, it has much to write.
 */
import { read } from '../libc/calls.js';
import { callError, EAGAIN, EINTR } from '../libc/errno.js';
import { enlargePipe, isPipe } from '../libc/pipes.js';
import { EPOLLIN } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import { yieldToEventLoop } from '../runtime/yield.js';
import type { ImageWriter } from '../stream/image-writer.js';
import { chunkBuffers } from './buffers.js';
import type { SourceFile } from './source-file.js';

/** Sends `first`, which was read already, the rest of the file, and its end. */
export async function sendCopied(
	{ name, fd, keep }: SourceFile,
	first: Buffer,
	image: ImageWriter,
	signal: AbortSignal,
): Promise<void> {
	if (isPipe(fd)) enlargePipe(fd);
	keep?.part(first);
	await image.write(name, first);
	const memory = chunkBuffers.take();
	for (;;) {
		await yieldToEventLoop();
		const got = read(fd, memory, memory.length);
		if (got === 0) break;
		if (got > 0) {
			const chunk = memory.subarray(0, got);
			keep?.part(chunk);
			await image.write(name, chunk);
		} else if (got === -EAGAIN) await waitFor(fd, EPOLLIN, { signal });
		else if (got !== -EINTR) throw callError(`cannot read ${name}`, got);
	}
	keep?.end();
	chunkBuffers.giveBack(memory);
	await image.end(name);
}

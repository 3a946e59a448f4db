/**
 * A large file whose pages are copied on their way, for shards that may hold references for longer than the application stays
 * stopped. Until the stream is delivered nothing changes them, so they may wait in CRIU's pipe, which is as large as it can be:
 * each time when CRIU is woken to fill it, it has much to write.
 */
import { enlargePipe, isPipe } from '../libc/pipes.js';
import { yieldToEventLoop } from '../runtime/yield.js';
import type { ImageWriter } from '../stream/image-writer.js';
import { chunkBuffers } from './buffers.js';
import { readPart, type SourceFile } from './source-file.js';

/** Sends `first`, which was read already, the rest of the file, and its end. */
export async function sendCopied(
	file: SourceFile,
	first: Buffer,
	image: ImageWriter,
	signal: AbortSignal,
): Promise<void> {
	const { name, fd, keep } = file;
	if (isPipe(fd)) enlargePipe(fd);
	keep?.part(first);
	await image.write(name, first);
	const memory = chunkBuffers.take();
	for (;;) {
		await yieldToEventLoop();
		const got = await readPart(file, memory, signal);
		if (got === 0) break;
		const chunk = memory.subarray(0, got);
		keep?.part(chunk);
		await image.write(name, chunk);
	}
	keep?.end();
	chunkBuffers.giveBack(memory);
	await image.end(name);
}

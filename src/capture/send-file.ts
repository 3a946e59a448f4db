/**
 * One file of an image: from a descriptor to the shards.
 *
 * A small file is read into memory and leaves with its markers in one write. A large one is moved by reference, or copied
 * (copied.ts, copied-at-once.ts) where its pages may still change. A move takes all that CRIU's pipe holds, and the next one waits
 * until there is something again: CRIU fills the whole pipe in one call, so neither side contends for the lock of the pipe, and
 * neither pauses.
 */
import { isPages } from '../images/names.js';
import { read } from '../libc/calls.js';
import { callError, EAGAIN, EINTR } from '../libc/errno.js';
import { bytesWaiting, enlargePipe } from '../libc/pipes.js';
import { EPOLLIN } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import { yieldToEventLoop } from '../runtime/yield.js';
import type { ImageWriter } from '../stream/image-writer.js';
import { SMALL } from '../stream/shard-writer.js';
import { smallBuffers } from './buffers.js';
import { sendCopied } from './copied.js';
import { sendCopiedAtOnce } from './copied-at-once.js';
import { readPart, type SourceFile } from './source-file.js';

/** Up to this many bytes in the pipe of a large file are copied: moving costs more, and they may be spread over many pages. */
const WORTH_COPYING = 16 << 10;

/** Sends the whole of `file`; resolves when its end was written, with false where the file is empty. */
export async function sendFile(file: SourceFile, image: ImageWriter, signal: AbortSignal): Promise<boolean> {
	const memory = smallBuffers.take();
	// Images of memory are large: there is no need to look at their first bytes.
	const large = file.by === 'reference' && isPages(file.name);
	const size = large ? 0 : await readStart(file, memory, signal);
	if (size === SMALL && file.by === 'copy at once') {
		await sendCopiedAtOnce(file, memory, image, signal);
		return true;
	}
	if (size === SMALL && file.by === 'copy') await sendCopied(file, memory, image, signal);
	else if (large || size === SMALL) {
		if (size) await image.put(file.name, memory, false);
		await sendByReference(file, memory, image, signal);
	} else {
		const whole = memory.subarray(0, size);
		file.keep?.part(whole);
		file.keep?.end();
		await image.put(file.name, whole, true);
	}
	smallBuffers.giveBack(memory);
	return large || size > 0;
}

/** Fills `memory`; returns how many bytes there are, which is less than its length where they are the whole file. */
async function readStart(file: SourceFile, memory: Buffer, signal: AbortSignal): Promise<number> {
	let size = 0;
	while (size < memory.length) {
		const got = await readPart(file, size ? memory.subarray(size) : memory, signal);
		if (got === 0) break;
		size += got;
	}
	return size;
}

/** Sends a file that is in memory, and its end. */
export async function sendBytes(name: string, content: Buffer, image: ImageWriter): Promise<void> {
	for (let at = 0; at < content.length; at += SMALL)
		await image.put(name, content.subarray(at, at + SMALL), false);
	await image.end(name);
}

/** `memory` is for the few bytes that are not worth moving. */
async function sendByReference(
	{ name, fd }: SourceFile,
	memory: Buffer,
	image: ImageWriter,
	signal: AbortSignal,
): Promise<void> {
	enlargePipe(fd);
	for (;;) {
		await yieldToEventLoop();
		const waiting = bytesWaiting(fd);
		if (waiting > WORTH_COPYING) {
			await image.move(name, fd, waiting);
			continue;
		}
		const got = read(fd, memory, WORTH_COPYING);
		if (got === 0) break;
		if (got > 0) await image.put(name, memory.subarray(0, got), false);
		else if (got === -EAGAIN) await waitFor(fd, EPOLLIN, { signal });
		else if (got !== -EINTR) throw callError(`cannot read ${name}`, got);
	}
	await image.end(name);
}

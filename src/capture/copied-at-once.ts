/**
 * A file whose pages the application may write to again before the stream is delivered, because no action script keeps it
 * stopped: its bytes are copied into private memory as soon as they are there.
 *
 * What CRIU has left in its pipe is inconsistent if the application runs before it is copied. So the pipe stays as small as it was,
 * and once CRIU has closed it the rest is taken out at once, however slow the shards are.
 */
import { onAbort } from '../libc/abort.js';
import { read } from '../libc/calls.js';
import { callError, EAGAIN, EINTR } from '../libc/errno.js';
import { isPipe } from '../libc/pipes.js';
import { EPOLLHUP, EPOLLIN, poller } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import { fail, failWith } from '../runtime/cancellation.js';
import { yieldToEventLoop } from '../runtime/yield.js';
import type { ImageWriter } from '../stream/image-writer.js';
import { SMALL } from '../stream/shard-writer.js';
import { smallBuffers } from './buffers.js';
import type { SourceFile } from './source-file.js';

/** Copied bytes that wait for a shard while CRIU is still writing: some for the shards to choose from. */
const MAX_WAITING = 8 * SMALL;

/** Sends `first` (a full buffer of buffers.ts, owned by this function from now on), the rest of `file`, and its end. */
export async function sendCopiedAtOnce(
	file: SourceFile,
	first: Buffer,
	image: ImageWriter,
	signal: AbortSignal,
): Promise<void> {
	const queue = new Queue(file);
	queue.push({ memory: first, bytes: first.length });
	// There is no use in copying what is not sent any more, once sending has failed.
	const reading = new AbortController();
	const release = failWith(reading, signal);
	const copying = queue.fill(reading.signal);
	try {
		await sendAll(queue, image);
	} catch (error) {
		fail(reading, error);
		throw error;
	} finally {
		await copying;
		release();
	}
	await image.end(file.name);
}

async function sendAll(queue: Queue, image: ImageWriter): Promise<void> {
	for (;;) {
		await yieldToEventLoop();
		const next = await queue.next();
		if (!next) break;
		await image.write(queue.file.name, next.memory.subarray(0, next.bytes));
		smallBuffers.giveBack(next.memory);
	}
}

interface Copied {
	memory: Buffer;
	bytes: number;
}

type Copying = { kind: 'running' } | { kind: 'complete' } | { kind: 'failed'; error: unknown };

/** Between the copying and the sending of one image. */
class Queue {
	readonly #waiting: Copied[] = [];
	#bytes = 0;
	#copying: Copying = { kind: 'running' };
	/** Wakes {@link next}. */
	#arrived = () => {};
	/** Wakes {@link fill}. */
	#resumeCopying = () => {};

	constructor(readonly file: SourceFile) {}

	/** Copies until the end of the file. Never rejects: {@link next} does, once what was copied before is taken. */
	async fill(signal: AbortSignal): Promise<void> {
		try {
			await this.#copy(signal);
			this.#copying = { kind: 'complete' };
		} catch (error) {
			this.#copying = { kind: 'failed', error };
		}
		this.#arrived();
	}

	async #copy(signal: AbortSignal): Promise<void> {
		const { name, fd } = this.file;
		for (let closed = false; ; ) {
			signal.throwIfAborted();
			if (!closed && this.#bytes >= MAX_WAITING) closed = await this.#roomOrClosed(signal);
			const memory = smallBuffers.take();
			const bytes = read(fd, memory, SMALL);
			if (bytes > 0) this.push({ memory, bytes });
			else smallBuffers.giveBack(memory);
			if (bytes === 0) return this.file.keep?.end();
			if (bytes === -EAGAIN) await waitFor(fd, EPOLLIN, { signal });
			else if (bytes < 0 && bytes !== -EINTR) throw callError(`cannot read ${name}`, bytes);
		}
	}

	/** What was copied next, or undefined at the end. */
	async next(): Promise<Copied | undefined> {
		while (!this.#waiting.length) {
			if (this.#copying.kind === 'failed') throw this.#copying.error;
			if (this.#copying.kind === 'complete') return undefined;
			await new Promise<void>((resolve) => {
				this.#arrived = resolve;
			});
		}
		const next = this.#waiting.shift()!;
		this.#bytes -= next.bytes;
		this.#resumeCopying();
		return next;
	}

	push(copied: Copied): void {
		this.file.keep?.part(copied.memory.subarray(0, copied.bytes));
		this.#waiting.push(copied);
		this.#bytes += copied.bytes;
		this.#arrived();
	}

	/** Resolves with true once CRIU has closed the pipe, with false when there is room in the queue or nothing more to do. */
	#roomOrClosed(signal: AbortSignal): Promise<boolean> {
		const { fd } = this.file;
		return new Promise((resolve) => {
			let release = () => {};
			const done = (closed: boolean) => {
				this.#resumeCopying = () => {};
				release();
				poller.cancel(fd, EPOLLHUP);
				resolve(closed);
			};
			// A regular file has no writer whose end could be waited for.
			if (isPipe(fd)) poller.once(fd, EPOLLHUP, () => done(true));
			this.#resumeCopying = () => done(false);
			release = onAbort(signal, this.#resumeCopying);
		});
	}
}

/**
 * An image whose pages the application may write to again: the bytes are copied into private memory as soon as they are
 * there.
 *
 * What CRIU left in its pipe is torn if the application runs before it is copied. So the pipe stays as small as it was, and
 * once CRIU has closed it the rest is taken out at once, however slow the shards are.
 */
import { read } from '../libc/calls.js';
import { callError, EAGAIN, EINTR } from '../libc/errno.js';
import { isPipe } from '../libc/pipes.js';
import { EPOLLHUP, EPOLLIN, poller } from '../libc/poller.js';
import type { Stop } from '../runtime/stop.js';
import { yieldToEventLoop } from '../runtime/yield.js';
import type { ShardBalancer } from '../stream/balancer.js';
import { SMALL } from '../stream/shard-writer.js';
import type { Source } from './source.js';

/** Copied bytes that wait for a shard while CRIU is still writing: some for the shards to choose from. */
const MAX_WAITING = 8 * SMALL;

/** Buffers that were sent, for the next read. */
const spare: Buffer[] = [];
const MAX_SPARE = 32;

/** Sends `first` (owned by this function from now on), the rest of `source`, and its end. */
export async function sendCopied(
	source: Source,
	first: Buffer,
	shards: ShardBalancer,
	stop: Stop,
): Promise<void> {
	const queue = new Queue(source);
	queue.push({ memory: first, bytes: first.length });
	const copying = queue.fill(stop).catch((error) => queue.fail(error));
	try {
		for (;;) {
			await yieldToEventLoop();
			const next = await queue.next();
			if (!next) break;
			const held = shards.tryTake(next.bytes) ?? (await shards.take(next.bytes));
			shards.announce(held, source.name, next.bytes);
			await held.writer.write(next.memory.subarray(0, next.bytes));
			shards.release(held);
			if (spare.length < MAX_SPARE && next.memory.length === SMALL) spare.push(next.memory);
		}
	} catch (error) {
		stop.fail(error);
		throw error;
	} finally {
		await copying;
	}
	const held = shards.tryTake(1) ?? (await shards.take(1));
	shards.end(held, source.name);
	shards.release(held);
}

interface Copied {
	memory: Buffer;
	bytes: number;
}

/** Between the copying and the sending of one image. */
class Queue {
	readonly #waiting: Copied[] = [];
	#bytes = 0;
	#ended = false;
	#error: unknown;
	#arrived: (() => void) | undefined;
	#goOn: (() => void) | undefined;

	constructor(readonly source: Source) {}

	/** Copies until the end of the file. */
	async fill(stop: Stop): Promise<void> {
		const { name, fd } = this.source;
		let closed = false;
		while (true) {
			stop.check();
			if (!closed && this.#bytes >= MAX_WAITING) closed = await this.#roomOrClosed(stop);
			const memory = spare.pop() ?? Buffer.allocUnsafeSlow(SMALL);
			const bytes = read(fd, memory, SMALL);
			if (bytes > 0) this.push({ memory, bytes });
			else {
				spare.push(memory);
				if (bytes === 0) break;
				if (bytes === -EAGAIN) await this.#readable(stop);
				else if (bytes !== -EINTR) throw callError(`cannot read ${name}`, bytes);
			}
		}
		this.#ended = true;
		this.#arrived?.();
	}

	/** What was copied next, or undefined at the end. */
	async next(): Promise<Copied | undefined> {
		while (!this.#waiting.length) {
			if (this.#error) throw this.#error;
			if (this.#ended) return undefined;
			await new Promise<void>((resolve) => {
				this.#arrived = resolve;
			});
			this.#arrived = undefined;
		}
		const next = this.#waiting.shift()!;
		this.#bytes -= next.bytes;
		this.#goOn?.();
		return next;
	}

	fail(error: unknown): void {
		this.#error = error;
		this.#arrived?.();
	}

	push(copied: Copied): void {
		this.source.keep?.(copied.memory.subarray(0, copied.bytes));
		this.#waiting.push(copied);
		this.#bytes += copied.bytes;
		this.#arrived?.();
	}

	/** Resolves with true once CRIU has closed the pipe, with false when there is room in the queue. */
	#roomOrClosed(stop: Stop): Promise<boolean> {
		return new Promise((resolve) => {
			const done = (closed: boolean) => {
				this.#goOn = undefined;
				release();
				poller.cancel(this.source.fd, EPOLLHUP);
				resolve(closed);
			};
			const release = stop.onFail(() => done(false));
			this.#goOn = () => done(false);
			// A regular file has no writer that could end, and nobody changes it behind our back.
			if (isPipe(this.source.fd)) poller.once(this.source.fd, EPOLLHUP, () => done(true));
		});
	}

	async #readable(stop: Stop): Promise<void> {
		const release = stop.onFail(() => poller.interrupt(this.source.fd));
		await poller.until(this.source.fd, EPOLLIN);
		release();
	}
}

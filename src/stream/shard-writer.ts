/**
 * One shard of a capture. The holder of its lease (balancer.ts) appends records; small ones are gathered into one write, and a
 * large payload moves by reference from pipe to pipe, or is written from private memory.
 */
import { read, splice, write } from '../libc/calls.js';
import { PAGE, SPLICE_F_MOVE, SPLICE_F_NONBLOCK } from '../libc/constants.js';
import { callError, EAGAIN, EINTR, EINVAL, EPIPE } from '../libc/errno.js';
import { bytesWaiting, enlargePipe, SHARD_PIPE } from '../libc/pipes.js';
import { EPOLLOUT, poller } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import { fail } from '../runtime/cancellation.js';
import { StallDetector } from '../runtime/stall.js';
import { drained, stalled, unsent } from '../stream/drained.js';
import { PipeSlots } from '../stream/pipe-slots.js';
import type { Shard } from '../stream/shard.js';
import { type Kind, kindOf, socketRoom } from '../stream/shard-kind.js';

/** Records that are smaller are copied and gathered; it is the size of a pipe that was not enlarged. */
export const SMALL = 64 << 10;
/** Gathered records are at most SMALL when another of SMALL is added, with its markers. */
const GATHER = 3 * SMALL;
/** A regular file takes all; a write of more would keep the event loop from a signal for too long. */
const FILE_ROOM = 1 << 20;
/** For the marker before a payload, and for a payload that does not begin with a page. */
const SPARE_SLOTS = 2;

export class ShardWriter {
	readonly name: string;
	readonly kind: Kind;
	/** Bytes that were written, markers included. */
	written = 0;
	/** The shard is leased, or its gathered records wait for room. */
	busy = false;
	readonly #fd: number;
	readonly #slots: PipeSlots;
	readonly #gathered = Buffer.allocUnsafeSlow(GATHER);
	#from = 0;
	#to = 0;
	#flushing: Promise<void> | undefined;
	#canSplice = true;

	constructor(
		readonly shard: Shard,
		readonly run: AbortController,
	) {
		this.name = shard.name;
		this.#fd = shard.fd;
		this.kind = kindOf(shard.fd);
		this.#slots = new PipeSlots(
			this.kind === 'pipe' ? Math.floor(enlargePipe(this.#fd, SHARD_PIPE) / PAGE) : 0,
		);
	}

	/** Payload bytes that it can take at once; 0 when it is full. */
	room(): number {
		if (this.kind === 'file') return FILE_ROOM;
		if (this.kind === 'socket') return Math.max(0, socketRoom(this.#fd) - this.unsent());
		const free = this.#slots.free(this.written - bytesWaiting(this.#fd));
		// A pipe may have no more slots than that, where its user has used up what the kernel grants.
		const min = free === this.#slots.count ? 1 : 0;
		return Math.max(min, free - SPARE_SLOTS) * PAGE;
	}

	/** Calls `wake` once with the epoll events when it is writable or its reader is gone; returns what ends the wait. */
	onceWritable(wake: (events: number) => void): () => void {
		poller.once(this.#fd, EPOLLOUT, wake);
		return () => poller.cancel(this.#fd, EPOLLOUT);
	}

	/** Bytes that were written and that the reader has not taken yet, as far as the kernel can tell. */
	unsent(): number {
		return this.kind === 'file' ? 0 : unsent(this.#fd, this.kind);
	}

	/** Room for a chunk that is worth a call: waking for each page that a reader takes would move page by page. */
	enough(wanted: number): number {
		if (this.kind === 'pipe') return Math.min(wanted, (this.#slots.count * PAGE) >> 2);
		if (this.kind === 'socket') return Math.min(wanted, SMALL, socketRoom(this.#fd) >> 1);
		return Math.min(wanted, SMALL);
	}

	/** Appends `bytes` (SMALL and a marker at most), copied. */
	append(bytes: Uint8Array): void {
		if (this.#from === this.#to) this.#from = this.#to = 0;
		this.#gathered.set(bytes, this.#to);
		this.#to += bytes.length;
	}

	/** Whether there are gathered records. */
	get gathers(): boolean {
		return this.#from < this.#to;
	}

	/** Whether gathered records should go out now. */
	get full(): boolean {
		return this.#to - this.#from >= SMALL;
	}

	/** Moves `bytes`, which wait in the pipe `from`, here by reference. The caller holds the lease. */
	async move(from: number, bytes: number): Promise<void> {
		await this.flush();
		for (let left = bytes; left > 0; ) {
			this.run.signal.throwIfAborted();
			if (!this.#canSplice) return this.#copy(from, left);
			const moved = splice(from, null, this.#fd, null, left, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
			if (moved > 0) {
				left -= moved;
				this.#wrote(moved);
			} else if (moved === -EAGAIN) {
				await this.#whenWritable();
			} else if (moved === -EINVAL) {
				// A file opened for appending, or on a file system without splice.
				this.#canSplice = false;
			} else if (moved === 0) {
				throw new Error(
					`bytes that waited in the pipe of an image file vanished before they reached ${this.name}`,
				);
			} else if (moved !== -EINTR) {
				throw this.#error(moved);
			}
		}
	}

	/** Writes `bytes` from memory. The caller holds the lease, and leaves the bytes alone until this resolves. */
	async write(bytes: Buffer): Promise<void> {
		await this.flush();
		await this.#writeAll(bytes);
	}

	/** Writes what was gathered; resolves when the kernel has it. */
	flush(): Promise<void> {
		if (this.#flushing) return this.#flushing;
		if (this.#from === this.#to || this.#tryFlush()) return NOTHING;
		this.#flushing = this.#flushSlowly().finally(() => {
			this.#flushing = undefined;
		});
		return this.#flushing;
	}

	/** Resolves when the reader has taken everything that was written; rejects when it ended before. */
	async drained(): Promise<void> {
		if (this.kind !== 'file') await drained(this.shard, this.kind, this.run.signal);
	}

	/** Starts to write what was gathered; `done` is called if that takes longer. The error goes to the run. */
	flushSoon(done: () => void): void {
		if (this.#attempt()) return;
		this.busy = true;
		this.flush()
			.then(() => {
				this.busy = false;
				done();
			})
			.catch((error) => fail(this.run, error));
	}

	async #flushSlowly(): Promise<void> {
		do await this.#whenWritable();
		while (!this.#tryFlush());
	}

	#attempt(): boolean {
		try {
			return this.#tryFlush();
		} catch (error) {
			fail(this.run, error);
			return true;
		}
	}

	#tryFlush(): boolean {
		while (this.#from < this.#to) {
			const written = this.#tryWrite(this.#gathered.subarray(this.#from, this.#to));
			if (written === 0) return false;
			this.#from += written;
		}
		return true;
	}

	async #writeAll(bytes: Buffer): Promise<void> {
		for (let at = 0; at < bytes.length; ) {
			this.run.signal.throwIfAborted();
			const written = this.#tryWrite(at ? bytes.subarray(at) : bytes);
			at += written;
			if (written === 0) await this.#whenWritable();
		}
	}

	/** Bytes that the kernel took; 0: there is no room. */
	#tryWrite(bytes: Uint8Array): number {
		for (;;) {
			const written = write(this.#fd, bytes, bytes.length);
			if (written === -EINTR) continue;
			if (written === -EAGAIN) return 0;
			if (written < 0) throw this.#error(written);
			this.#wrote(written);
			return written;
		}
	}

	#wrote(bytes: number): void {
		this.written += bytes;
		if (this.kind === 'pipe') this.#slots.took(bytes, this.written);
	}

	async #copy(from: number, bytes: number): Promise<void> {
		const memory = Buffer.allocUnsafeSlow(Math.min(bytes, SMALL));
		for (let left = bytes; left > 0; ) {
			const got = read(from, memory, Math.min(left, memory.length));
			if (got === -EINTR) continue;
			if (got <= 0) throw callError(`cannot read the pipe of an image file for ${this.name}`, got || -EPIPE);
			await this.#writeAll(memory.subarray(0, got));
			left -= got;
		}
	}

	async #whenWritable(): Promise<void> {
		const { signal } = this.run;
		const stall = new StallDetector(this.shard.stallMillis);
		this.checkStall(stall);
		// A slow reader makes progress long before the kernel has room again: a page in a pipe, a third of a socket's buffer.
		while (!(await waitFor(this.#fd, EPOLLOUT, { signal, deadline: stall.deadline }))) this.checkStall(stall);
	}

	/** Counts what the reader has taken as progress. Throws where it takes nothing for longer than it may. */
	checkStall(stall: StallDetector): void {
		if (!stall.millis) return;
		stall.observe(this.written - this.unsent());
		if (stall.stalled) throw stalled(this.shard);
	}

	/** The error for a reader that has ended. */
	readerGone(): Error {
		return this.#error(-EPIPE);
	}

	#error(result: number): Error {
		const gone = result === -EPIPE ? ': its reader has closed it, look there for the reason' : '';
		return callError(`cannot write the image to ${this.name}${gone}`, result);
	}
}

const NOTHING = Promise.resolve();

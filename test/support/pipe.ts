/** Real pipes: Node's `stdio: 'pipe'` makes sockets, and the streamer treats those differently. */
import { buffer, fcntl, read as libcRead, write as libcWrite } from '../../src/libc/calls.js';
import { F_GETFL, O_NONBLOCK } from '../../src/libc/constants.js';
import { callError, EAGAIN, EINTR, throwIfError } from '../../src/libc/errno.js';
import { bytesWaiting, makePipe, restoreFlags } from '../../src/libc/pipes.js';
import { EPOLLIN, EPOLLOUT, poller } from '../../src/libc/poller.js';
import { waitFor } from '../../src/libc/wait.js';
import { afterwards } from './cleanup.js';

const CHUNK = 1 << 20;
const chunk = buffer(CHUNK);

/** One end of a pipe in this process, closed when the test ends at the latest. */
export class End {
	#open = true;

	constructor(readonly fd: number) {
		afterwards(() => this.close());
	}

	close(): void {
		if (!this.#open) return;
		this.#open = false;
		poller.interrupt(this.fd);
		poller.close(this.fd);
	}

	/** Passes the descriptor to another owner. */
	handOver(): number {
		this.#open = false;
		return this.fd;
	}

	/** Prepares it for a child: blocking, like the pipes of a shell. */
	forChild(): number {
		// The other flags of the file (O_APPEND) stay.
		restoreFlags(this.fd, fcntl(this.fd, F_GETFL, 0) & ~O_NONBLOCK);
		return this.fd;
	}
}

/** The write end. */
export class WriteEnd extends End {
	/** Writes all of `bytes`. Rejects with an error that has `errno` (EPIPE) where the reader has closed its end. */
	async write(bytes: Uint8Array): Promise<void> {
		for (let at = 0; at < bytes.length; ) {
			const wrote = libcWrite(this.fd, at ? bytes.subarray(at) : bytes, bytes.length - at);
			if (wrote > 0) at += wrote;
			else if (wrote === -EAGAIN) await waitFor(this.fd, EPOLLOUT);
			else if (wrote !== -EINTR) throw callError(`cannot write to fd ${this.fd}`, wrote);
		}
	}

	/** Resolves when there is room, or the reader has closed its end. */
	async writable(): Promise<void> {
		await waitFor(this.fd, EPOLLOUT);
	}

	/** {@link write}, then {@link close}. */
	async end(bytes: Uint8Array = Buffer.alloc(0)): Promise<void> {
		await this.write(bytes);
		this.close();
	}
}

/** The read end. */
export class ReadEnd extends End {
	/** Up to `max` bytes, as soon as there are any; undefined at the end. A copy, because other pipes are read meanwhile. */
	async take(max = CHUNK): Promise<Buffer | undefined> {
		for (;;) {
			const got = libcRead(this.fd, chunk, Math.min(max, CHUNK));
			if (got > 0) return Buffer.from(chunk.subarray(0, got));
			if (got === 0) return undefined;
			if (got === -EAGAIN) await waitFor(this.fd, EPOLLIN);
			else if (got !== -EINTR) throw callError(`cannot read from fd ${this.fd}`, got);
		}
	}

	/** Resolves when there is something to read, or the end. */
	async readable(): Promise<void> {
		if (bytesWaiting(this.fd) === 0) await waitFor(this.fd, EPOLLIN);
	}

	/** Exactly `bytes` bytes. */
	async exactly(bytes: number): Promise<Buffer> {
		const result = Buffer.alloc(bytes);
		for (let at = 0; at < bytes; ) {
			const some = await this.take(bytes - at);
			if (!some) throw new Error(`the pipe ended after ${at} of ${bytes} bytes`);
			at += some.copy(result, at);
		}
		return result;
	}

	/** What comes up to the end, then closes. */
	async *chunks(): AsyncGenerator<Buffer, void> {
		for (let some: Buffer | undefined; (some = await this.take()); ) yield some;
		this.close();
	}

	/** Reads to the end, then closes. */
	async all(): Promise<Buffer> {
		const parts: Buffer[] = [];
		for await (const some of this.chunks()) parts.push(some);
		return Buffer.concat(parts);
	}

	/** Reads to the end, then closes; returns the number of bytes. */
	async count(): Promise<number> {
		let bytes = 0;
		for await (const some of this.chunks()) bytes += some.length;
		return bytes;
	}
}

/** A new pipe. */
export function pipe(): { readEnd: ReadEnd; writeEnd: WriteEnd } {
	const ends = makePipe();
	if (typeof ends === 'number') throw new Error(`cannot make a pipe: ${throwIfError(ends, 'pipe2')}`);
	return { readEnd: new ReadEnd(ends.readEnd), writeEnd: new WriteEnd(ends.writeEnd) };
}

/** A pipe that holds `bytes` and ends: what a child reads. */
export function pipeOf(bytes: Uint8Array): ReadEnd {
	const { readEnd, writeEnd } = pipe();
	// Some tests need a child that stops reading; they check how the child ends.
	writeEnd.end(bytes).catch(() => writeEnd.close());
	return readEnd;
}

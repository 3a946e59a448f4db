import type { TLSSocket } from 'node:tls';
import { buffer, read, write } from '../libc/calls.js';
import { callError, EAGAIN, EINTR, EPIPE, errnoText } from '../libc/errno.js';
import { enlargePipe, makePipe } from '../libc/pipes.js';
import { EPOLLIN, EPOLLOUT, poller } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import { frame } from '../net/frame.js';
import { reasonOf } from '../peer/tls-reasons.js';
import { type PeerConnection, PeerTimeout, receiveFrom } from './connection.js';

/** Bytes encrypted at a time: sixteen records, which a socket accepts at once. */
const CHUNK_BYTES = 256 << 10;
/** Time for a closed connection to send its remaining output. */
const LINGER_MILLIS = 2000;
const NEVER = Number.POSITIVE_INFINITY;

export class TlsConnection implements PeerConnection {
	readonly #socket: TLSSocket;
	readonly #waiters = new Set<() => void>();
	#error: Error | undefined;
	#closed = false;
	/** The pipe between the stream and the pump to or from TLS: the stream's end, and the pump's; -1 once closed. */
	#pipe: { ours: number; theirs: number } | undefined;

	constructor(
		socket: TLSSocket,
		readonly name: string,
	) {
		this.#socket = socket;
		// A sender ends its output before it reads the receipt. During the handshake the end of one side ends both.
		socket.allowHalfOpen = true;
		const notify = () => {
			for (const waiter of [...this.#waiters]) waiter();
		};
		for (const event of ['readable', 'end', 'close']) socket.on(event, notify);
		socket.on('error', (error) => {
			this.#error ??= error;
			notify();
		});
	}

	/** There will be no more input. */
	get #ended(): boolean {
		return this.#closed || this.#error !== undefined || this.#socket.readableEnded || this.#socket.destroyed;
	}

	receive(deadline = NEVER): Promise<Buffer | undefined> {
		return receiveFrom(this.name, async (bytes) => {
			for (;;) {
				const chunk = this.#socket.read(bytes) as Buffer | null;
				if (chunk?.length === bytes) return chunk;
				if (chunk) throw new Error(`${this.name} ended in the middle of a message`);
				if (this.#closed) return undefined;
				if (this.#error) throw this.#broken();
				if (this.#ended) return undefined;
				await this.#event(deadline);
			}
		});
	}

	#broken(): Error {
		const { code } = this.#error as NodeJS.ErrnoException;
		const text = `the connection to ${this.name} broke: ${reasonOf(this.#error)}`;
		return Object.assign(new Error(text), { code });
	}

	/** Resolves on input, or when the connection ends. */
	#event(deadline: number): Promise<void> {
		return new Promise((resolve, reject) => {
			let timer: NodeJS.Timeout | undefined;
			const waiter = () => {
				clearTimeout(timer);
				this.#waiters.delete(waiter);
				resolve();
			};
			this.#waiters.add(waiter);
			if (deadline === NEVER) return;
			timer = setTimeout(
				() => {
					this.#waiters.delete(waiter);
					reject(new PeerTimeout(this.name));
				},
				Math.max(0, deadline - Date.now()),
			);
		});
	}

	send(message: Uint8Array, deadline = NEVER): Promise<void> {
		return this.#write(frame(message), deadline);
	}

	/** Resolves when the kernel has taken the bytes. */
	#write(bytes: Uint8Array, deadline = NEVER): Promise<void> {
		return new Promise((resolve, reject) => {
			const late = () => reject(new PeerTimeout(this.name));
			const timer = deadline === NEVER ? undefined : setTimeout(late, Math.max(0, deadline - Date.now()));
			this.#socket.write(bytes, (error) => {
				clearTimeout(timer);
				if (error) reject(error);
				else resolve();
			});
		});
	}

	watch(react: () => void): () => void {
		const waiter = () => {
			if (!this.#socket.readableLength && !this.#ended) return;
			this.#waiters.delete(waiter);
			react();
		};
		this.#waiters.add(waiter);
		return () => this.#waiters.delete(waiter);
	}

	sink(): number {
		const { readEnd, writeEnd } = newPipe();
		this.#pipe = { ours: writeEnd, theirs: readEnd };
		void this.#pumpOut(readEnd);
		return writeEnd;
	}

	source(): number {
		const { readEnd, writeEnd } = newPipe();
		this.#pipe = { ours: readEnd, theirs: writeEnd };
		void this.#pumpIn(writeEnd);
		return readEnd;
	}

	/** Never rejects: errors of the socket are thrown by {@link receive}. */
	async #pumpOut(readEnd: number): Promise<void> {
		const memory = buffer(CHUNK_BYTES);
		try {
			while (this.#pipe?.theirs !== -1) {
				const count = read(readEnd, memory, memory.length);
				if (count === -EAGAIN) await waitFor(readEnd, EPOLLIN);
				else if (count > 0) await this.#write(memory.subarray(0, count));
				else if (count === 0) {
					this.#socket.end();
					break;
				} else if (count !== -EINTR) throw callError('cannot read the pipe before TLS', count);
			}
		} catch (error) {
			this.#error ??= error as Error;
		}
		this.#closeTheirs();
	}

	/** Never rejects: the reader of the pipe sees its end, and detects that it is too early. */
	async #pumpIn(writeEnd: number): Promise<void> {
		try {
			for (;;) {
				const chunk = this.#socket.read() as Buffer | null;
				// The reader has closed its end: further input is for drain().
				if (chunk && !(await this.#fill(writeEnd, chunk))) break;
				if (chunk) continue;
				if (this.#ended) break;
				await this.#event(NEVER);
			}
		} catch (error) {
			this.#error ??= error as Error;
		}
		this.#closeTheirs();
	}

	/** Returns false when the reader of the pipe has closed it. */
	async #fill(writeEnd: number, chunk: Buffer): Promise<boolean> {
		for (let at = 0; at < chunk.length; ) {
			if (this.#pipe?.theirs === -1) return false;
			const count = write(writeEnd, chunk.subarray(at), chunk.length - at);
			if (count === -EAGAIN) await waitFor(writeEnd, EPOLLOUT);
			else if (count === -EPIPE) return false;
			else if (count > 0) at += count;
			else if (count !== -EINTR) throw callError('cannot fill the pipe behind TLS', count);
		}
		return true;
	}

	breakSink(): void {
		this.#closeTheirs();
	}

	end(): void {
		if (this.#pipe) this.#closeOurs();
		else this.#socket.end();
	}

	async drain(deadline: number): Promise<void> {
		this.#closeOurs();
		// The pump may be waiting for input, which is discarded here from now on.
		this.#closeTheirs();
		while (!this.#ended && Date.now() < deadline) {
			if (!this.#socket.read()) await this.#event(deadline);
		}
	}

	close(): void {
		if (this.#closed) return;
		this.#closed = true;
		this.#closeOurs();
		this.#closeTheirs();
		for (const waiter of [...this.#waiters]) waiter();
		if (!this.#socket.writableEnded) {
			this.#socket.destroy();
			return;
		}
		this.#socket.destroySoon();
		setTimeout(() => this.#socket.destroy(), LINGER_MILLIS).unref();
	}

	#closeOurs(): void {
		const pipe = this.#pipe;
		if (!pipe || pipe.ours === -1) return;
		const fd = pipe.ours;
		pipe.ours = -1;
		poller.interrupt(fd);
		poller.close(fd);
	}

	#closeTheirs(): void {
		const pipe = this.#pipe;
		if (!pipe || pipe.theirs === -1) return;
		const fd = pipe.theirs;
		pipe.theirs = -1;
		poller.interrupt(fd);
		poller.close(fd);
	}
}

function newPipe(): { readEnd: number; writeEnd: number } {
	const pipe = makePipe();
	if (typeof pipe === 'number') throw new Error(`cannot make a pipe for TLS: ${errnoText(pipe)}`);
	enlargePipe(pipe.writeEnd);
	return pipe;
}

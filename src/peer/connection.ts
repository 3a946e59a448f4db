/**
 * A connection: messages before and after the stream, and the descriptor for the stream itself. Messages are read to their
 * last byte and no further, since the stream that follows is read by another module.
 */
import { buffer, read, shutdown, write } from '../libc/calls.js';
import { SHUT_RDWR, SHUT_WR } from '../libc/constants.js';
import { callError, EAGAIN, EINTR } from '../libc/errno.js';
import { EPOLLIN, EPOLLOUT, poller } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import { frame, PREFIX_BYTES } from '../net/frame.js';
import { MAX_MESSAGE_BYTES } from '../stream/limits.js';

const NEVER = Number.POSITIVE_INFINITY;

/** A deadline passed. */
export class PeerTimeout extends Error {
	constructor(name: string) {
		super(`${name} is silent`);
	}
}

/** Deadlines are on the clock of Date.now; a call throws {@link PeerTimeout} when its deadline passes. */
export interface PeerConnection {
	/** For messages: "tcp://10.0.0.1:7000". */
	readonly name: string;
	/** The next message; undefined at the end of input, and once the connection is closed. */
	receive(deadline?: number): Promise<Buffer | undefined>;
	send(message: Uint8Array, deadline?: number): Promise<void>;
	/** Calls `react` once on input from the other side or when it disconnects. Returns a function that cancels this. */
	watch(react: () => void): () => void;
	/** The descriptor that the stream is written to from now on. */
	sink(): number;
	/** The descriptor that the stream is read from from now on. */
	source(): number;
	/** Makes writes to {@link sink} fail from now on; messages can still be received. */
	breakSink(): void;
	/** Ends the output: the other side reads the end of input after the last message. */
	end(): void;
	/**
	 * Discards input until the other side ends its output, or until `deadline`: closing with unread input would lose our
	 * output.
	 */
	drain(deadline: number): Promise<void>;
	close(): void;
}

/** Reads a message; `take` returns exactly the requested number of bytes, or undefined at the end of input. */
export async function receiveFrom(
	name: string,
	take: (bytes: number) => Promise<Buffer | undefined>,
): Promise<Buffer | undefined> {
	const prefix = await take(PREFIX_BYTES);
	if (!prefix) return undefined;
	const length = prefix.readUInt32LE(0);
	if (length > MAX_MESSAGE_BYTES) throw new Error(`${name} speaks another protocol`);
	if (length === 0) return Buffer.alloc(0);
	const message = await take(length);
	if (!message) throw new Error(`${name} ended in the middle of a message`);
	return message;
}

/** A {@link PeerConnection} without TLS: the stream uses the socket itself. */
export class SocketConnection implements PeerConnection {
	#closed = false;

	/** Owns `fd` from now on. */
	constructor(
		readonly fd: number,
		readonly name: string,
	) {}

	receive(deadline = NEVER): Promise<Buffer | undefined> {
		return receiveFrom(this.name, (bytes) => this.#take(bytes, deadline));
	}

	async #take(bytes: number, deadline: number): Promise<Buffer | undefined> {
		const result = buffer(bytes);
		for (let at = 0; at < bytes; ) {
			if (this.#closed) return undefined;
			const count = read(this.fd, result.subarray(at), bytes - at);
			if (count === -EAGAIN) await this.#waitFor(EPOLLIN, deadline);
			else if (count === 0 && at === 0) return undefined;
			else if (count === 0) throw new Error(`${this.name} ended in the middle of a message`);
			else if (count > 0) at += count;
			else if (count !== -EINTR) throw callError(`the connection to ${this.name} broke`, count);
		}
		return result;
	}

	async send(message: Uint8Array, deadline = NEVER): Promise<void> {
		const bytes = frame(message);
		for (let at = 0; at < bytes.length; ) {
			if (this.#closed) throw new Error(`the connection to ${this.name} is closed`);
			const count = write(this.fd, bytes.subarray(at), bytes.length - at);
			if (count === -EAGAIN) await this.#waitFor(EPOLLOUT, deadline);
			else if (count > 0) at += count;
			else if (count !== -EINTR) throw callError(`the connection to ${this.name} broke`, count);
		}
	}

	async #waitFor(events: number, deadline: number): Promise<void> {
		if (!(await waitFor(this.fd, events, { deadline }))) throw new PeerTimeout(this.name);
	}

	watch(react: () => void): () => void {
		poller.once(this.fd, EPOLLIN, react);
		return () => {
			if (!this.#closed) poller.cancel(this.fd, EPOLLIN);
		};
	}

	sink(): number {
		return this.fd;
	}

	source(): number {
		return this.fd;
	}

	breakSink(): void {
		if (!this.#closed) shutdown(this.fd, SHUT_RDWR);
	}

	end(): void {
		if (!this.#closed) shutdown(this.fd, SHUT_WR);
	}

	async drain(deadline: number): Promise<void> {
		const scratch = buffer(256 << 10);
		while (!this.#closed && Date.now() < deadline) {
			const count = read(this.fd, scratch, scratch.length);
			if (count === -EAGAIN) await this.#waitFor(EPOLLIN, deadline);
			else if (count === 0 || (count < 0 && count !== -EINTR)) return;
			else await new Promise(setImmediate);
		}
	}

	close(): void {
		if (this.#closed) return;
		this.#closed = true;
		poller.interrupt(this.fd);
		poller.close(this.fd);
	}
}

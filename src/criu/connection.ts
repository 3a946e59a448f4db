/**
 * CRIU's side of the image socket, on a dump and on a restore: requests by name, and pipes handed over for them.
 *
 * The peer is not trusted: a message has a maximum size and must be whole within a time limit; a descriptor must come alone,
 * with the byte after a request, and be a pipe. Any other descriptor is closed.
 */
import { fcntl, write } from '../libc/calls.js';
import { F_SETFL, O_NONBLOCK } from '../libc/constants.js';
import { callError, EAGAIN, ECONNRESET, EINTR } from '../libc/errno.js';
import { closeAll, Receiver } from '../libc/message.js';
import { isPipe } from '../libc/pipes.js';
import { EPOLLIN, EPOLLOUT, poller } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import { frame, PREFIX_BYTES } from '../net/frame.js';
import { criu } from '../proto/messages.js';
import { StallDetector } from '../runtime/stall.js';
import { checkImageName, quoteName } from '../stream/image-name.js';
import { MAX_MESSAGE_BYTES } from '../stream/limits.js';

/** Time limit for a message that has begun, or for the pipe after it: CRIU sends them at once. */
const HALF_MESSAGE_MILLIS = 30_000;

export class CriuConnection {
	readonly #receiver = new Receiver(PREFIX_BYTES + MAX_MESSAGE_BYTES + 1);
	/** Received bytes that are not parsed yet. Mostly a view of the receiver's memory, which the next receive overwrites. */
	#bytes: Buffer = NONE;
	#fds: number[] = [];
	#ended = false;
	/** For a message that is incomplete, since its rest was first waited for. */
	#half: StallDetector | undefined;

	/** Owns `fd`, a connected UNIX socket. */
	constructor(
		readonly fd: number,
		readonly signal: AbortSignal,
		readonly halfMillis = HALF_MESSAGE_MILLIS,
	) {}

	/** The name that CRIU requests next, or undefined when it has closed the socket. */
	async request(): Promise<string | undefined> {
		for (;;) {
			const name = this.#parse();
			if (name !== undefined) {
				this.#half = undefined;
				return checkImageName(name, 'CRIU');
			}
			if (this.#ended) {
				if (this.#bytes.length)
					throw new Error('CRIU closed its socket in the middle of a message: see its log');
				return undefined;
			}
			if (!this.#receive()) await this.#waitForMore(this.#bytes.length > 0);
			if (this.#fds.length) this.#checkFdPosition();
		}
	}

	/** The pipe that CRIU passes for `name`, non-blocking; the caller owns it. */
	async pipe(name: string): Promise<number> {
		while (this.#bytes.length === 0) {
			if (this.#ended)
				throw new Error(`CRIU closed its socket before it sent a pipe for ${quoteName(name)}: see its log`);
			if (!this.#receive()) await this.#waitForMore(true);
		}
		this.#half = undefined;
		const fds = this.#fds;
		this.#fds = [];
		if (fds.length !== 1 || this.#bytes.length !== 1) {
			closeAll(fds);
			const received =
				fds.length === 0 ? 'no descriptor' : `${fds.length} descriptors and ${this.#bytes.length} bytes`;
			throw new Error(
				`the peer on the image socket sent ${received} for ${quoteName(name)}, where one pipe belongs`,
			);
		}
		this.#bytes = NONE;
		const fd = fds[0]!;
		if (!isPipe(fd)) {
			closeAll(fds);
			throw new Error(
				`the peer on the image socket sent a descriptor for ${quoteName(name)} that is no pipe`,
			);
		}
		// A pipe's end has no other status flags that would be lost.
		fcntl(fd, F_SETFL, O_NONBLOCK);
		return fd;
	}

	/** Tells CRIU whether there is an image of the requested name. */
	async reply(exists: boolean): Promise<void> {
		let left = exists ? EXISTS : ABSENT;
		while (left.length) {
			const written = write(this.fd, left, left.length);
			if (written > 0) left = left.subarray(written);
			else if (written === -EAGAIN) await waitFor(this.fd, EPOLLOUT, { signal: this.signal });
			else if (written !== -EINTR) throw callError('cannot answer CRIU', written);
		}
	}

	/** Resolves when CRIU has closed the socket; any further input is discarded. */
	async closed(): Promise<void> {
		while (!this.#ended) {
			closeAll(this.#fds.splice(0));
			this.#bytes = NONE;
			if (!this.#receive()) await waitFor(this.fd, EPOLLIN, { signal: this.signal });
		}
	}

	/** No call may be pending here. CRIU takes the close for an error, unless it is done. */
	close(): void {
		closeAll(this.#fds.splice(0));
		poller.close(this.fd);
	}

	#parse(): string | undefined {
		const bytes = this.#bytes;
		if (bytes.length < PREFIX_BYTES) return undefined;
		const length = bytes.readUInt32LE(0);
		if (length > MAX_MESSAGE_BYTES) {
			throw new Error(`the peer on the image socket sent a message of ${length} bytes; it is not CRIU`);
		}
		const end = PREFIX_BYTES + length;
		if (bytes.length < end) return undefined;
		this.#bytes = bytes.subarray(end);
		try {
			return criu.Request.decode(bytes.subarray(PREFIX_BYTES, end)).filename;
		} catch (error) {
			throw new Error('the peer on the image socket sent a request that cannot be read; it is not CRIU', {
				cause: error,
			});
		}
	}

	/** Throws unless the descriptors came with the byte after a request. */
	#checkFdPosition(): void {
		const bytes = this.#bytes;
		const end = bytes.length < PREFIX_BYTES ? Number.POSITIVE_INFINITY : PREFIX_BYTES + bytes.readUInt32LE(0);
		if (bytes.length === end + 1) return;
		const count = this.#fds.length;
		closeAll(this.#fds.splice(0));
		throw new Error(`the peer on the image socket sent ${count} descriptors that it was not asked for`);
	}

	/** Receives input that is there; returns false where there is none. */
	#receive(): boolean {
		// The receive below overwrites the receiver's memory.
		if (this.#bytes.length) this.#bytes = Buffer.from(this.#bytes);
		const { bytes, fds } = this.#receiver.receive(this.fd);
		if (bytes === -EINTR) return true;
		if (bytes === -EAGAIN) return false;
		if (bytes === 0 || bytes === -ECONNRESET) this.#ended = true;
		else if (bytes < 0) throw callError('cannot read from the image socket', bytes);
		else {
			const fresh = this.#receiver.data.subarray(0, bytes);
			this.#bytes = this.#bytes.length ? Buffer.concat([this.#bytes, fresh]) : fresh;
			if (fds.length) this.#fds = this.#fds.concat(fds);
		}
		return true;
	}

	/** Waits for more input; with `half` an incomplete message must be whole in time. */
	async #waitForMore(half: boolean): Promise<void> {
		const { fd, signal } = this;
		if (half) this.#half ??= new StallDetector(this.halfMillis);
		const received = this.#half?.stalled
			? 0
			: await waitFor(fd, EPOLLIN, { signal, deadline: this.#half?.deadline });
		if (!received) throw this.#stalledError();
	}

	#stalledError(): Error {
		return new Error(
			`the peer on the image socket has not finished a message for ${this.halfMillis / 1000} s: ` +
				'it is not CRIU, or it hangs',
		);
	}
}

const NONE = Buffer.alloc(0);
const EXISTS: Uint8Array = frame(criu.Reply.encode({ exists: true }).finish());
const ABSENT: Uint8Array = frame(criu.Reply.encode({ exists: false }).finish());

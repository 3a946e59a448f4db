/**
 * Text output (stderr, the log file, --progress-fd), which must never block or end a dump.
 *
 * A reader that has closed its end is not an error, and one that does not read must not block the event loop, so a line is
 * written only when the descriptor is writable, waits in a bounded queue otherwise, and is dropped when that is full. The
 * descriptor is polled rather than made non-blocking, because other processes share its flags.
 */
import { buffer, poll, write } from '../libc/calls.js';
import { EAGAIN, EINTR } from '../libc/errno.js';
import { EPOLLOUT, poller } from '../libc/poller.js';

/** Maximum number of bytes that wait for a slow reader: some thousand lines. */
const MAX_WAITING = 256 << 10;
/** A pipe that polls as writable takes this much without blocking (PIPE_BUF). */
const CHUNK = 4096;
/** How long the end of a command waits for a reader that does not read. */
const FLUSH_MILLIS = 1000;

const POLLOUT = 4;
const pollfd = buffer(8);

/** Lines to one descriptor, which it does not own. */
export class Lines {
	readonly #fd: number;
	#queue: Buffer[] = [];
	#bytes = 0;
	#gone = false;
	#waiting = false;
	#drained: (() => void)[] = [];

	constructor(fd: number) {
		this.#fd = fd;
	}

	/** Writes `text` unchanged, now or as soon as there is room. Never throws. */
	write(text: string): void {
		const bytes = Buffer.from(text);
		if (this.#gone || this.#bytes + bytes.length > MAX_WAITING) return;
		this.#queue.push(bytes);
		this.#bytes += bytes.length;
		if (!this.#waiting) this.#pump();
	}

	/**
	 * Resolves when everything is written, when the reader has closed its end, or after a time limit; the rest is then
	 * dropped.
	 */
	async flush(): Promise<void> {
		if (!this.#queue.length) return;
		let timer: NodeJS.Timeout | undefined;
		await new Promise<void>((resolve) => {
			this.#drained.push(resolve);
			timer = setTimeout(resolve, FLUSH_MILLIS);
		});
		clearTimeout(timer);
		if (!this.#queue.length) return;
		poller.cancel(this.#fd, EPOLLOUT);
		this.#waiting = false;
		this.#finish(true);
	}

	#pump(): void {
		const failed = !this.#writeOut();
		if (failed || !this.#queue.length) this.#finish(failed);
		else this.#wait();
	}

	/** Writes as much as the descriptor takes; returns false on an error, such as a closed reader. */
	#writeOut(): boolean {
		while (this.#queue.length && this.#writable()) {
			const head = this.#queue[0]!;
			const result = write(this.#fd, head, Math.min(head.length, CHUNK));
			if (result === -EINTR) continue;
			if (result === -EAGAIN) break;
			if (result < 0) return false;
			this.#bytes -= result;
			if (result === head.length) this.#queue.shift();
			else this.#queue[0] = head.subarray(result);
		}
		return true;
	}

	#wait(): void {
		this.#waiting = true;
		try {
			poller.once(this.#fd, EPOLLOUT, () => {
				this.#waiting = false;
				this.#pump();
			});
		} catch {
			this.#waiting = false;
			this.#finish(true);
		}
	}

	#writable(): boolean {
		pollfd.writeInt32LE(this.#fd, 0);
		pollfd.writeInt32LE(POLLOUT, 4);
		// A descriptor that has failed or is not open also polls as ready; write returns the error.
		return poll(pollfd, 1, 0) !== 0;
	}

	#finish(up: boolean): void {
		this.#gone ||= up;
		this.#queue = [];
		this.#bytes = 0;
		for (const resolve of this.#drained.splice(0)) resolve();
	}
}

const linesByFd = new Map<number, Lines>();

/** The lines to `fd`, of which there is one instance per descriptor. */
export function linesTo(fd: number): Lines {
	let lines = linesByFd.get(fd);
	if (!lines) linesByFd.set(fd, (lines = new Lines(fd)));
	return lines;
}

/** Writes the queued lines to `fd` and releases it; to be called before the descriptor is closed or replaced. */
export async function releaseLines(fd: number): Promise<void> {
	await linesByFd.get(fd)?.flush();
	if (linesByFd.delete(fd)) poller.release(fd);
}

/** Writes the queued lines of all descriptors; to be called at the end of a command. */
export async function flushLines(): Promise<void> {
	await Promise.all([...linesByFd.values()].map((lines) => lines.flush()));
}

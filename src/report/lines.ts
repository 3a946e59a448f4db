/**
 * Text for whoever watches (stderr, the log file, --progress-fd): it must never stop or end a dump.
 *
 * A watcher that went away is no error, and one that does not read must not block the event loop, so a line is written only
 * when the descriptor takes it, waits in a bounded queue otherwise, and is dropped when that is full. The descriptor is
 * polled rather than made non-blocking: its flags belong to other processes too.
 */
import { buffer, poll, write } from '../libc/calls.js';
import { EAGAIN, EINTR } from '../libc/errno.js';
import { EPOLLOUT, poller } from '../libc/poller.js';

/** Bytes that wait for a slow reader: some thousand lines. */
const MAX_WAITING = 256 << 10;
/** A pipe that polls as writable takes this much without blocking (PIPE_BUF). */
const CHUNK = 4096;
/** How long the end of a command waits for a reader that does not read. */
const PATIENCE_MILLIS = 1000;

const POLLOUT = 4;
const pollfd = buffer(8);

/** Lines to one descriptor, which stays its owner's. */
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

	/** Writes `text` as it is, now or as soon as there is room. Never throws. */
	write(text: string): void {
		const bytes = Buffer.from(text);
		if (this.#gone || this.#bytes + bytes.length > MAX_WAITING) return;
		this.#queue.push(bytes);
		this.#bytes += bytes.length;
		if (!this.#waiting) this.#pump();
	}

	/** Resolves when all is written, or nobody will read it, or time is up: what is left then is dropped. */
	async flush(): Promise<void> {
		if (!this.#queue.length) return;
		let timer: NodeJS.Timeout | undefined;
		await new Promise<void>((resolve) => {
			this.#drained.push(resolve);
			timer = setTimeout(resolve, PATIENCE_MILLIS);
		});
		clearTimeout(timer);
		if (!this.#queue.length) return;
		poller.cancel(this.#fd, EPOLLOUT);
		this.#waiting = false;
		this.#give(true);
	}

	#pump(): void {
		const failed = !this.#writeOut();
		if (failed || !this.#queue.length) this.#give(failed);
		else this.#wait();
	}

	/** As much as the descriptor takes; false once nobody reads it. */
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
			this.#give(true);
		}
	}

	#writable(): boolean {
		pollfd.writeInt32LE(this.#fd, 0);
		pollfd.writeInt32LE(POLLOUT, 4);
		// One that failed or is not open polls as ready too, and write says so.
		return poll(pollfd, 1, 0) !== 0;
	}

	#give(up: boolean): void {
		this.#gone ||= up;
		this.#queue = [];
		this.#bytes = 0;
		for (const resolve of this.#drained.splice(0)) resolve();
	}
}

const known = new Map<number, Lines>();

/** The lines to `fd`; the same for everybody who asks. */
export function linesTo(fd: number): Lines {
	let lines = known.get(fd);
	if (!lines) known.set(fd, (lines = new Lines(fd)));
	return lines;
}

/** Before a descriptor is closed or replaced: writes what waits, and forgets it. */
export async function forgetLines(fd: number): Promise<void> {
	await known.get(fd)?.flush();
	if (known.delete(fd)) poller.release(fd);
}

/** At the end of a command. */
export async function flushLines(): Promise<void> {
	await Promise.all([...known.values()].map((lines) => lines.flush()));
}

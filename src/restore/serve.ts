/**
 * Serves a held image to a restoring CRIU, as many files at a time as it asks for.
 *
 * CRIU may close a pipe before its end, or unread (it asks for files that it then finds no use for): that is its right. What
 * it read is gone from memory, unless it is kept.
 */

import type { CriuConnection } from '../criu/connection.js';
import type { CriuSocket } from '../criu/socket.js';
import { write } from '../libc/calls.js';
import { callError, EAGAIN, EINTR, EPIPE } from '../libc/errno.js';
import { bytesWaiting, enlargePipe } from '../libc/pipes.js';
import { EPOLLOUT, poller } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import { askedAgain } from '../restore/preadv.js';
import { fail, failWith, unlessAborted } from '../runtime/cancellation.js';
import { StreamError } from '../runtime/stream-error.js';
import { yieldToEventLoop } from '../runtime/yield.js';
import type { Cursor } from '../stores/cursor.js';
import type { HeldFile, LargeFile } from '../stores/held.js';

export interface ServeJob {
	/** CRIUs connect at once or one after another. */
	criu: CriuSocket;
	files: ReadonlyMap<string, HeldFile>;
	/** Ends the replay as failed, for the signal's reason. */
	signal?: AbortSignal | undefined;
	/** Told what a CRIU will probably fail of. */
	warn?: (message: string) => void;
}

/** While CRIU empties its pipe, in microseconds. */
const DRAIN_MICROS = 50;

/** Resolves when the last CRIU has closed its socket, and every pipe that it handed over is served. */
export async function serve(job: ServeJob): Promise<void> {
	const run = new AbortController();
	const { signal } = run;
	const release = job.signal && failWith(run, job.signal);
	const clients: Client[] = [];
	const served: Promise<void>[] = [];
	try {
		for (let i = 0; i < job.criu.clients; i++) {
			const criu = await job.criu.accept(signal);
			const client = new Client(criu, job.files, run, job.warn);
			clients.push(client);
			served.push(client.serve().catch((error) => fail(run, error)));
		}
		await unlessAborted(signal, Promise.all(served));
	} catch (error) {
		fail(run, error);
		throw error;
	} finally {
		release?.();
		await Promise.all(clients.map((client) => client.end()));
	}
}

/** One CRIU. */
class Client {
	readonly #sending = new Set<Promise<void>>();
	/** Large files that it asked for. */
	readonly #opened = new Set<string>();

	constructor(
		readonly criu: CriuConnection,
		readonly files: ReadonlyMap<string, HeldFile>,
		readonly run: AbortController,
		readonly warn: ServeJob['warn'],
	) {}

	async serve(): Promise<void> {
		let asked = 0;
		for (;;) {
			const name = await this.criu.request();
			if (name === undefined) break;
			asked++;
			const file = this.files.get(name);
			// What cannot be served is an error before CRIU is told that it is there.
			const cursor = file?.kind === 'large' ? this.#open(file.file) : undefined;
			await this.criu.reply(file !== undefined);
			if (file) this.#send(name, file, cursor, await this.criu.pipe(name));
		}
		if (!asked) throw new Error('CRIU connected, and left without asking for a file: see its log');
		await Promise.all(this.#sending);
	}

	/** Lets go of everything, after success or once the run has failed. */
	async end(): Promise<void> {
		await Promise.allSettled(this.#sending);
		this.criu.close();
	}

	/** With --keep it is served again, to whoever may want that; CRIU will not be able to use it. */
	#open(file: LargeFile): Cursor {
		const again = this.#opened.has(file.name) ? askedAgain(file.name) : undefined;
		this.#opened.add(file.name);
		if (again && !file.room.options.keep) throw new StreamError('NEEDS_FILES', again);
		if (again) this.warn?.(again);
		return file.open();
	}

	#send(name: string, file: HeldFile, cursor: Cursor | undefined, pipe: number): void {
		const work = cursor
			? sendLarge(cursor, pipe, this.run.signal)
			: sendSmall(name, (file as Small).data, pipe, this.run.signal);
		if (!work) return;
		const sending = work
			.catch((error) => fail(this.run, error))
			.finally(() => {
				cursor?.close();
				poller.close(pipe);
				this.#sending.delete(sending);
			});
		this.#sending.add(sending);
	}
}

type Small = Extract<HeldFile, { kind: 'small' }>;

/** Undefined where CRIU's pipe took all at once; then it is closed already. */
function sendSmall(name: string, data: Buffer, pipe: number, signal: AbortSignal): Promise<void> | undefined {
	const written = data.length ? tryWrite(name, data, pipe) : 0;
	if (written < data.length) return sendSmallRest(name, data.subarray(written), pipe, signal);
	poller.close(pipe);
	return undefined;
}

async function sendSmallRest(name: string, data: Buffer, pipe: number, signal: AbortSignal): Promise<void> {
	for (let left = data; left.length; ) {
		await waitFor(pipe, EPOLLOUT, { signal });
		left = left.subarray(tryWrite(name, left, pipe));
	}
}

/** Bytes that the pipe took, all of them where nobody wants to read them. */
function tryWrite(name: string, data: Buffer, pipe: number): number {
	for (;;) {
		const written = write(pipe, data, data.length);
		if (written >= 0) return written;
		if (written === -EAGAIN) return 0;
		if (written === -EPIPE) return data.length;
		if (written !== -EINTR) throw callError(`cannot send ${name} to CRIU`, written);
	}
}

async function sendLarge(cursor: Cursor, pipe: number, signal: AbortSignal): Promise<void> {
	const size = enlargePipe(pipe);
	for (;;) {
		const sent = cursor.send(pipe, size);
		if (sent === 0 || sent === -EPIPE) return;
		if (sent > 0 || sent === -EINTR) {
			await yieldToEventLoop();
			signal.throwIfAborted();
			continue;
		}
		if (sent !== -EAGAIN) throw callError(`cannot send ${cursor.name} to CRIU`, sent);
		await waitFor(pipe, EPOLLOUT, { signal });
		await drained(pipe, size);
	}
}

/** Waits while CRIU reads and its pipe is more than half full: the first free page is no room for the next ones. */
async function drained(pipe: number, size: number): Promise<void> {
	for (let waiting = bytesWaiting(pipe); waiting > size >> 1; ) {
		await poller.pause(DRAIN_MICROS);
		const now = bytesWaiting(pipe);
		if (now === waiting) return;
		waiting = now;
	}
}

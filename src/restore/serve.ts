/**
 * Serves an image to a restoring CRIU, any number of files at a time.
 *
 * CRIU may close a pipe before its end, or unread: it asks for files that it then finds no use for. What it has read is freed,
 * unless the store keeps it.
 */

import type { CriuConnection } from '../criu/connection.js';
import type { CriuSocket } from '../criu/socket.js';
import { isPages } from '../images/names.js';
import { fail, failWith, unlessAborted } from '../runtime/cancellation.js';
import { StreamError } from '../runtime/stream-error.js';
import type { FileReader, Image, ReadableFile } from '../stream/image.js';
import { askedAgain } from './preadv.js';
import { Transfer } from './transfer.js';

export interface ServeJob {
	/** CRIUs connect at once or one after another. */
	criu: CriuSocket;
	image: Image<ReadableFile>;
	/** Ends the replay as failed, for the signal's reason. */
	signal?: AbortSignal | undefined;
	/** Called with a warning about a probable failure of CRIU. */
	warn?: (message: string) => void;
}

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
			const client = new Client(criu, job, run);
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
	/** Pages images that it asked for. */
	readonly #asked = new Set<string>();

	constructor(
		readonly criu: CriuConnection,
		readonly job: ServeJob,
		readonly run: AbortController,
	) {}

	async serve(): Promise<void> {
		let requests = 0;
		for (;;) {
			const name = await this.criu.request();
			if (name === undefined) break;
			requests++;
			const file = this.job.image.file(name);
			if (!file) {
				await this.criu.reply(false);
				continue;
			}
			// What cannot be served is an error before CRIU is told that it is there.
			const reader = this.#open(file);
			try {
				await this.criu.reply(true);
				this.#send(file, reader, await this.criu.pipe(name));
			} catch (error) {
				reader.close();
				throw error;
			}
		}
		if (!requests) throw new Error('CRIU connected, and disconnected without a request: see its log');
		await Promise.all(this.#sending);
	}

	/** Closes everything, after success or once the run has failed. */
	async end(): Promise<void> {
		await Promise.allSettled(this.#sending);
		this.criu.close();
	}

	/** What the store keeps is sent as often as it is asked for, although CRIU will probably fail with it. */
	#open(file: ReadableFile): FileReader {
		if (!isPages(file.name)) return file.open();
		const again = this.#asked.has(file.name) ? askedAgain(file.name) : undefined;
		this.#asked.add(file.name);
		try {
			const reader = file.open();
			if (again) this.job.warn?.(again);
			return reader;
		} catch (error) {
			throw again ? new StreamError('NEEDS_FILES', again) : error;
		}
	}

	#send(file: ReadableFile, reader: FileReader, pipe: number): void {
		const transfer = new Transfer(file, reader, pipe);
		// Promises for each of thousands of small files would cost more than the files.
		if (transfer.tryAll()) return;
		const sending = transfer
			.all(this.run.signal)
			.catch((error) => fail(this.run, error))
			.finally(() => {
				transfer.close();
				this.#sending.delete(sending);
			});
		this.#sending.add(sending);
	}
}

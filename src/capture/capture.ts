/**
 * A capture: takes the images of one dump from CRIU and writes them as a stream.
 *
 * Every image is a task of its own between two waits of the one poll set. The image is complete when inventory.img, which
 * CRIU writes last, is at its end and no file is open; the socket may stay open for much longer (lazy pages).
 */

import type { CriuConnection } from '../criu/connection.js';
import type { CriuSocket } from '../criu/socket.js';
import { dup } from '../libc/calls.js';
import { throwIfError } from '../libc/errno.js';
import { raiseFileLimit } from '../libc/file-limit.js';
import { isPipe, setNonBlocking } from '../libc/pipes.js';
import { poller } from '../libc/poller.js';
import { peerOf } from '../net/unix-socket.js';
import type { Log } from '../report/log.js';
import { Stop } from '../runtime/stop.js';
import { StreamError } from '../runtime/stream-error.js';
import { ShardBalancer } from '../stream/balancer.js';
import { CORRECTIONS } from '../stream/corrections.js';
import type { ExtFile } from '../stream/ext-file.js';
import { LAST_IMAGE, quoteName } from '../stream/image-name.js';
import type { Shard } from '../stream/shard.js';
import type { StreamSummary } from '../stream/summary.js';
import { sendBytes, sendImage } from './image-reader.js';
import { PageTransfer, type References } from './page-transfer.js';
import type { Source } from './source.js';

/** Sent before the application is stopped, or all that there is (criu cpuinfo dump). */
const CPUINFO = 'cpuinfo.img';

export interface CaptureJob {
	criu: CriuSocket;
	shards: readonly Shard[];
	extFiles: readonly ExtFile[];
	/** How the pages of the CRIU that is connected on `fd` leave. */
	references(fd: number): References;
	/** Take an image without inventory.img for whole. */
	allowIncomplete: boolean;
	/** Ends the capture as failed, for the signal's reason. */
	signal?: AbortSignal;
	/** Called at the first image that is not cpuinfo.img: the application stands still. */
	onStart(): void;
	/** Told why pages are copied although references were wanted. */
	log: Pick<Log, 'info'>;
}

export interface Captured {
	summary: StreamSummary;
	/** Resolves when CRIU has closed its socket. */
	criuClosed: Promise<void>;
}

/**
 * Serves one dump. Resolves when the kernel has every byte of the stream; rejects, without an end of the image in the
 * stream, when anything failed.
 */
export async function capture(job: CaptureJob): Promise<Captured> {
	raiseFileLimit();
	const stop = new Stop();
	const run = new Run(job, stop);
	const abort = () => stop.fail(job.signal?.reason);
	job.signal?.addEventListener('abort', abort);
	if (job.signal?.aborted) abort();
	try {
		const criu = await Promise.race([job.criu.accept(stop), stop.failed]);
		return await Promise.race([run.serve(criu), stop.failed]);
	} catch (error) {
		stop.fail(error);
		await run.end();
		throw error;
	} finally {
		job.signal?.removeEventListener('abort', abort);
	}
}

class Run {
	readonly #shards: ShardBalancer;
	readonly #open = new Set<string>();
	readonly #names = new Set<string>();
	/** All that still has to settle before the descriptors of this run are closed. */
	readonly #tasks = new Set<Promise<void>>();
	#criu: CriuConnection | undefined;
	#started = 0;
	#latest: string | undefined;
	#whole!: () => void;
	/** Resolves when inventory.img is at its end and nothing else is open. */
	readonly #complete = new Promise<void>((resolve) => {
		this.#whole = resolve;
	});
	#ended = false;
	#pages: PageTransfer | undefined;

	constructor(
		readonly job: CaptureJob,
		readonly stop: Stop,
	) {
		this.#shards = new ShardBalancer(job.shards, stop);
	}

	async serve(criu: CriuConnection): Promise<Captured> {
		this.#criu = criu;
		this.#started = performance.now();
		const pages = new PageTransfer(this.job.references(criu.fd), peerOf(criu.fd).pid, this.job.log);
		this.#pages = pages;
		for (const { name, fd } of this.job.extFiles) this.#readExtFile(name, fd);
		const requests = this.#task(this.#serveRequests(criu, pages));
		await Promise.race([this.#complete, requests.then(() => this.#whenNothingIsOpen())]);
		this.#ended = true;
		const corrections = await pages.corrections();
		if (corrections) await sendBytes(CORRECTIONS, Buffer.from(corrections), this.#shards);
		pages.end();
		await this.#shards.endImage();
		const millis = Math.round(performance.now() - this.#started);
		const shards = this.#shards.writers.map(({ written }) => ({ bytes: written, millis }));
		const criuClosed = requests.finally(() => criu.close());
		criuClosed.catch(() => {});
		return { summary: { shards, files: this.#names.size }, criuClosed };
	}

	/** Lets go of everything, after {@link Stop.fail}. */
	async end(): Promise<void> {
		this.#pages?.end();
		await Promise.allSettled(this.#tasks);
		this.#criu?.close();
	}

	async #serveRequests(criu: CriuConnection, pages: PageTransfer): Promise<void> {
		let stands = false;
		for (;;) {
			const name = await criu.request();
			if (name === undefined) break;
			this.#claim(name);
			if (!stands && name !== CPUINFO) {
				stands = true;
				this.#started = performance.now();
				this.job.onStart();
			}
			this.#latest = name;
			const by = await pages.wayOf(name);
			this.#read({ name, fd: await criu.pipe(name), by, keep: pages.keeperOf(name) });
		}
		if (!this.#isWhole() && !this.job.allowIncomplete) throw this.#cutShort();
	}

	/** Whether what came is all that CRIU had to say. */
	#isWhole(): boolean {
		const images = this.#names.size - this.job.extFiles.length;
		return this.#names.has(LAST_IMAGE) || (images === 1 && this.#names.has(CPUINFO));
	}

	#cutShort(): Error {
		const last = this.#latest === undefined ? 'before the first file' : `after ${quoteName(this.#latest)}`;
		return new StreamError(
			'DUMP_INCOMPLETE',
			`CRIU closed its socket ${last}, without ${LAST_IMAGE}: the dump failed, and so does the stream ` +
				'(the reason is in CRIU’s log; --allow-incomplete takes such a stream for whole)',
		);
	}

	#claim(name: string): void {
		if (name === CORRECTIONS) throw new Error(`${CORRECTIONS} is a name that the capture itself uses`);
		if (this.#ended) throw new Error(`CRIU sent ${quoteName(name)} after ${LAST_IMAGE}, which ends an image`);
		if (this.#names.has(name)) throw this.#taken(name);
		this.#names.add(name);
		this.#open.add(name);
	}

	#taken(name: string): Error {
		const quoted = quoteName(name);
		return new Error(
			this.job.extFiles.some((file) => file.name === name)
				? `CRIU sent ${quoted}, a name that --ext-file-fds gave to a file of yours: give it another name`
				: `CRIU sent ${quoted} twice: an image has each file once`,
		);
	}

	#readExtFile(name: string, fd: number): void {
		this.#claim(name);
		const own = throwIfError(dup(fd), `cannot read ${name} from fd ${fd}: is it open?`);
		setNonBlocking(own);
		// What comes out of a pipe of the user's belongs to nobody else; a file is read.
		this.#read({ name, fd: own, by: isPipe(own) ? 'reference' : 'copy' });
	}

	#read(source: Source): void {
		const reading = sendImage(source, this.#shards, this.stop).finally(() => poller.close(source.fd));
		this.#task(
			reading.then((full) => {
				// A CRIU that was killed leaves it so, and nothing else is missing.
				if (source.name === LAST_IMAGE && !full && !this.job.allowIncomplete)
					throw new StreamError(
						'DUMP_INCOMPLETE',
						`CRIU ended before it wrote ${LAST_IMAGE}: the dump failed, and so does the stream`,
					);
				this.#open.delete(source.name);
				if (this.#open.size === 0 && this.#names.has(LAST_IMAGE)) this.#whole();
				if (this.#open.size === 0) this.#idle?.();
			}),
		);
	}

	#idle: (() => void) | undefined;

	#whenNothingIsOpen(): Promise<void> {
		if (this.#open.size === 0) return Promise.resolve();
		return new Promise((resolve) => {
			this.#idle = resolve;
		});
	}

	#task(task: Promise<void>): Promise<void> {
		const settled = task
			.catch((error) => this.stop.fail(error))
			.finally(() => {
				this.#tasks.delete(settled);
			});
		this.#tasks.add(settled);
		return task;
	}
}

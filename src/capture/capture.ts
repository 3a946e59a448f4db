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
import { fail, failWith, unlessAborted } from '../runtime/cancellation.js';
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

/** How one dump is captured. */
export interface DumpPlan {
	/** How its pages leave. */
	references: References;
	/**
	 * Resolves when CRIU's action script asks whether the stream is out: CRIU has finished the dump, and holds the application
	 * until it is answered. Undefined: CRIU has no script, or none that it runs after what it does.
	 */
	asked?: Promise<void> | undefined;
}

export interface CaptureJob {
	criu: CriuSocket;
	shards: readonly Shard[];
	extFiles: readonly ExtFile[];
	/** What is to be done for the CRIU that is connected on `fd`. */
	plan(fd: number): DumpPlan;
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
	const controller = new AbortController();
	const { signal } = controller;
	const run = new Run(job, controller);
	const release = job.signal && failWith(controller, job.signal);
	try {
		const criu = await job.criu.accept(signal);
		return await unlessAborted(signal, run.serve(criu));
	} catch (error) {
		fail(controller, error);
		await run.end();
		throw error;
	} finally {
		release?.();
	}
}

/**
 * - receiving: CRIU may ask for more files;
 * - closed: CRIU has closed its socket, and files are still open;
 * - ended: the image is complete, and is followed by its end only.
 */
type State = 'receiving' | 'closed' | 'ended';

class Run {
	readonly #shards: ShardBalancer;
	readonly #open = new Set<string>();
	readonly #names = new Set<string>();
	/** All that still has to settle before the descriptors of this run are closed. */
	readonly #tasks = new Set<Promise<void>>();
	#criu: CriuConnection | undefined;
	#started = 0;
	#latest: string | undefined;
	#state: State = 'receiving';
	#complete!: () => void;
	/** Resolves when nothing is open, and nothing can follow: inventory.img is at its end, or CRIU has closed its socket. */
	readonly #completed = new Promise<void>((resolve) => {
		this.#complete = resolve;
	});
	#pages: PageTransfer | undefined;

	constructor(
		readonly job: CaptureJob,
		readonly controller: AbortController,
	) {
		this.#shards = new ShardBalancer(job.shards, controller);
	}

	async serve(criu: CriuConnection): Promise<Captured> {
		this.#criu = criu;
		this.#started = performance.now();
		const { references, asked } = this.job.plan(criu.fd);
		const pages = new PageTransfer(references, peerOf(criu.fd).pid, this.job.log);
		this.#pages = pages;
		for (const { name, fd } of this.job.extFiles) this.#readExtFile(name, fd);
		const requests = this.#task(this.#serveRequests(criu, pages));
		await Promise.race([this.#completed, requests.then(() => this.#completed)]);
		this.#state = 'ended';
		// Without its question the application may run on, and so change the pages that left by reference.
		if (asked) await Promise.race([asked, requests.then(unasked)]);
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

	/** Lets go of everything, after the run has failed. */
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
		if (this.#state === 'receiving') this.#state = 'closed';
		this.#checkComplete();
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
				'(the reason is in CRIU’s log)',
		);
	}

	#claim(name: string): void {
		if (name === CORRECTIONS) throw new Error(`${CORRECTIONS} is a name that the capture itself uses`);
		if (this.#state === 'ended')
			throw new Error(`CRIU sent ${quoteName(name)} after ${LAST_IMAGE}, which ends an image`);
		if (this.#names.has(name)) throw this.#taken(name);
		this.#names.add(name);
		this.#open.add(name);
	}

	#taken(name: string): Error {
		const quoted = quoteName(name);
		return new Error(
			this.job.extFiles.some((file) => file.name === name)
				? `CRIU sent ${quoted}, the name of a file that was given by its descriptor: give that one another name`
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
		const reading = sendImage(source, this.#shards, this.controller.signal).finally(() =>
			poller.close(source.fd),
		);
		this.#task(
			reading.then((full) => {
				// A CRIU that was killed leaves it so, and nothing else is missing.
				if (source.name === LAST_IMAGE && !full && !this.job.allowIncomplete)
					throw new StreamError(
						'DUMP_INCOMPLETE',
						`CRIU ended before it wrote ${LAST_IMAGE}: the dump failed, and so does the stream`,
					);
				this.#open.delete(source.name);
				this.#checkComplete();
			}),
		);
	}

	#checkComplete(): void {
		if (this.#open.size > 0) return;
		if (this.#state === 'closed' || this.#names.has(LAST_IMAGE)) this.#complete();
	}

	#task(task: Promise<void>): Promise<void> {
		const settled = task
			.catch((error) => fail(this.controller, error))
			.finally(() => {
				this.#tasks.delete(settled);
			});
		this.#tasks.add(settled);
		return task;
	}
}

function unasked(): never {
	throw new Error(
		'CRIU ended before its action script asked whether the stream is out: the dump failed after its last image, or the ' +
			'script did, and the application runs on (the reason is in CRIU’s log)',
	);
}

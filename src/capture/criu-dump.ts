/**
 * The files of a dumping CRIU. CRIU requests one after another, and passes a pipe for each; it writes inventory.img last,
 * and its socket may stay open for much longer (lazy pages).
 */
import type { CriuConnection } from '../criu/connection.js';
import { CPUINFO, LAST_IMAGE } from '../images/names.js';
import { StreamError } from '../runtime/stream-error.js';
import { CORRECTIONS } from '../stream/corrections.js';
import type { ExtFile } from '../stream/ext-file.js';
import { quoteName } from '../stream/image-name.js';
import type { ImageSender } from './image-sender.js';
import type { PageTransfer } from './page-transfer.js';

export interface DumpJob {
	/** CRIU may not use their names. */
	extFiles: readonly ExtFile[];
	/** Take an image without inventory.img for complete. */
	allowIncomplete: boolean;
	/** Called at the first image that is not cpuinfo.img: the application is stopped. */
	onStart(): void;
}

/**
 * - preparing: the application still runs;
 * - dumping: it is stopped, and CRIU writes its image;
 * - complete: no file may follow.
 */
type State = 'preparing' | 'dumping' | 'complete';

export class CriuDump {
	/** Resolves when CRIU has closed its socket; rejects where the dump failed. */
	readonly closed: Promise<void>;
	/** When the application was stopped, as far as it can be told, by performance.now(). */
	started = performance.now();
	#latest: string | undefined;
	#state: State = 'preparing';
	#resolveLastEnded!: () => void;
	/** Resolves at the end of inventory.img. */
	readonly #lastEnded = new Promise<void>((resolve) => {
		this.#resolveLastEnded = resolve;
	});

	/** Serves `criu`, which stays the caller's to close. */
	constructor(
		readonly job: DumpJob,
		readonly criu: CriuConnection,
		readonly pages: PageTransfer,
		readonly image: ImageSender,
	) {
		this.closed = this.#serve();
		image.start(this.closed);
	}

	/**
	 * Resolves when every file of the image is at its end, and none can follow: inventory.img is among them, or CRIU has closed
	 * its socket.
	 */
	async complete(): Promise<void> {
		await Promise.race([this.#lastEnded, this.closed]);
		// Another file may begin between the end of the last one and the continuation of this function.
		while (!this.image.idle) await this.image.whenIdle();
		this.#state = 'complete';
	}

	async #serve(): Promise<void> {
		for (;;) {
			const name = await this.criu.request();
			if (name === undefined) break;
			this.#begin(name);
			const by = await this.pages.wayOf(name);
			const fd = await this.criu.pipe(name);
			const check = name === LAST_IMAGE ? this.#checkInventory.bind(this) : undefined;
			this.image.start(this.image.send({ name, fd, by, keep: this.pages.keeperOf(name) }, check));
		}
		if (!this.#isComplete() && !this.job.allowIncomplete) throw this.#incomplete();
	}

	#begin(name: string): void {
		if (name === CORRECTIONS) throw new Error(`${CORRECTIONS} is a name that the capture itself uses`);
		if (this.#state === 'complete')
			throw new Error(`CRIU sent ${quoteName(name)} after ${LAST_IMAGE}, which ends an image`);
		if (this.image.names.has(name)) throw this.#duplicate(name);
		this.image.begin(name);
		this.#latest = name;
		if (this.#state === 'dumping' || name === CPUINFO) return;
		this.#state = 'dumping';
		this.started = performance.now();
		this.job.onStart();
	}

	/** inventory.img is at its end. */
	#checkInventory(filled: boolean): void {
		// A CRIU that was killed leaves it empty, and nothing else is missing.
		if (!filled && !this.job.allowIncomplete)
			throw new StreamError(
				'DUMP_INCOMPLETE',
				`CRIU ended before it wrote ${LAST_IMAGE}: the dump failed, and so does the stream`,
			);
		this.#resolveLastEnded();
	}

	/** Whether the files that came are all that a CRIU sends. */
	#isComplete(): boolean {
		const { names } = this.image;
		const ofCriu = names.size - this.job.extFiles.length;
		return names.has(LAST_IMAGE) || (ofCriu === 1 && names.has(CPUINFO));
	}

	#incomplete(): Error {
		const last = this.#latest === undefined ? 'before the first file' : `after ${quoteName(this.#latest)}`;
		return new StreamError(
			'DUMP_INCOMPLETE',
			`CRIU closed its socket ${last}, without ${LAST_IMAGE}: the dump failed, and so does the stream ` +
				'(the reason is in CRIU’s log)',
		);
	}

	#duplicate(name: string): Error {
		const quoted = quoteName(name);
		return new Error(
			this.job.extFiles.some((file) => file.name === name)
				? `CRIU sent ${quoted}, the name of a file that was given by its descriptor: give that one another name`
				: `CRIU sent ${quoted} twice: an image has each file once`,
		);
	}
}

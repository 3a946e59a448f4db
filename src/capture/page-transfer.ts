/**
 * How the files of one dump leave: each by reference or copied, with corrections where they can be had. What references.ts
 * chose for the dump is given up here where the corrections cannot be made.
 */
import { isPages } from '../images/names.js';
import type { Log } from '../report/log.js';
import { describeError } from '../runtime/errors.js';
import { StreamError } from '../runtime/stream-error.js';
import { PageCorrections } from './page-corrections.js';
import { raisePriority } from './priority.js';
import type { References } from './references.js';
import type { SourceFile } from './source-file.js';

export class PageTransfer {
	#corrections: PageCorrections | undefined;
	#restorePriority: (() => void) | undefined;

	/**
	 * @param held an action script keeps the application stopped until the stream is delivered
	 * @param tracer the process of the dumping CRIU
	 * @param log told why pages are copied although references were wanted
	 */
	constructor(
		private references: References,
		readonly held: boolean,
		tracer: number,
		readonly log: Pick<Log, 'info'>,
	) {
		this.#corrections = new PageCorrections(tracer, references === 'corrected');
		if (references === 'never') this.#hurry();
	}

	/** How the file `name` is to be read; to be called when CRIU asks for it, and before anything of it is read. */
	async wayOf(name: string): Promise<SourceFile['by']> {
		const ofProcess = await this.#corrections?.requested(name).catch((error) => this.#giveUp(error));
		const { references } = this;
		if (references === 'always' && isPages(name)) return 'reference';
		if (ofProcess && (references === 'corrected' || references === 'until delivered')) return 'reference';
		return this.held ? 'copy' : 'copy at once';
	}

	/** Takes the parts of the file `name`; undefined: nothing of it is needed here. */
	keeperOf(name: string): SourceFile['keep'] {
		return this.#corrections?.keeperOf(name);
	}

	/**
	 * The content of the file of corrections; undefined: there is none. To be called when the image is complete, and before the
	 * action script has its answer.
	 * @throws where pages left by reference and cannot be corrected
	 */
	async corrections(): Promise<Uint8Array | undefined> {
		try {
			return await this.#corrections?.read();
		} catch (error) {
			return this.#giveUp(error);
		}
	}

	/** Nothing more is copied: the process has its usual priority again. Safe to call twice. */
	end(): void {
		this.#restorePriority?.();
		this.#restorePriority = undefined;
	}

	/** There will be no corrections, and so no references that need them. */
	#giveUp(cause: unknown): undefined {
		const begun = this.#corrections?.begun;
		this.#corrections = undefined;
		if (this.references !== 'corrected') {
			this.log.info(`the image will have no corrections: ${describeError(cause)}`);
			return;
		}
		if (begun)
			throw new StreamError(
				'CORRECTIONS_LOST',
				'pages have left by reference, and what the kernel changes in them when the application ends is not known',
				{ cause },
			);
		this.log.info(`copying pages instead of moving them by reference: ${describeError(cause)}`);
		this.references = 'never';
		this.#hurry();
	}

	/** Everything is copied from now on; without a script that is a race against CRIU. */
	#hurry(): void {
		if (!this.held) this.#restorePriority = raisePriority();
	}
}

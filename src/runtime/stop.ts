/**
 * The end of a run that failed: the first error wins, and everybody who waits is woken to let go of what they own.
 */
import { asError } from '../runtime/errors.js';

/** Shared by all parts of one capture or one replay. */
export class Stop {
	/** Rejects with the first error. */
	readonly failed: Promise<never>;
	#error: Error | undefined;
	#reject!: (error: Error) => void;
	readonly #wake = new Set<() => void>();

	constructor() {
		this.failed = new Promise((_, reject) => {
			this.#reject = reject;
		});
		// Nobody may be waiting for it at the moment.
		this.failed.catch(() => {});
	}

	/** Ends the run because of `error`; later errors are consequences, and say nothing new. */
	fail(error: unknown): void {
		if (this.#error) return;
		this.#error = asError(error);
		this.#reject(this.#error);
		for (const wake of this.#wake) wake();
	}

	/** Throws if the run has failed: to be called after each wait. */
	check(): void {
		if (this.#error) throw this.#error;
	}

	/** Calls `wake` when the run fails; returns what takes that back. */
	onFail(wake: () => void): () => void {
		this.#wake.add(wake);
		return () => this.#wake.delete(wake);
	}
}

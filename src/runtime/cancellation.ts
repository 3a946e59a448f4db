/**
 * Early end of a run: it owns an AbortController, which its first error aborts (later errors are consequences, and abort()
 * ignores them). Every task that waits takes the signal and releases what it owns; only background tasks, whose errors would
 * go unnoticed, have the controller.
 */
import { onAbort } from '../libc/abort.js';
import { asError } from './errors.js';

/** Ends `run` because of `error`. */
export function fail(run: AbortController, error: unknown): void {
	run.abort(asError(error));
}

/**
 * Ends `run` when `signal` is aborted, for the same reason. Returns a function that undoes this, for a signal that outlives
 * the run.
 */
export function failWith(run: AbortController, signal: AbortSignal): () => void {
	return onAbort(signal, () => fail(run, signal.reason));
}

/**
 * Resolves with the result of `work`; rejects at once, with the signal's reason, when `signal` is aborted. The result of
 * `work` is then ignored.
 */
export async function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
	let release!: () => void;
	const aborted = new Promise<never>((_, reject) => {
		release = onAbort(signal, () => reject(signal.reason));
	});
	try {
		return await Promise.race([work, aborted]);
	} finally {
		release();
	}
}

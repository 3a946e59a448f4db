/**
 * How a run ends early: it owns an AbortController, and its first error aborts that (later ones are consequences, which
 * abort() ignores). All that waits takes the signal and lets go of what it owns; only what works in the background, where
 * nobody would see its error, has the controller.
 */
import { onAbort } from '../libc/abort.js';
import { asError } from './errors.js';

/** Ends a run because of `error`. */
export function fail(run: AbortController, error: unknown): void {
	run.abort(asError(error));
}

/** Ends `run` with `signal`, for the same reason. Returns how to undo that, for a signal that lives longer. */
export function failWith(run: AbortController, signal: AbortSignal): () => void {
	return onAbort(signal, () => fail(run, signal.reason));
}

/** What `work` resolves with; rejects at once, with its reason, when `signal` is aborted. What `work` then says is ignored. */
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

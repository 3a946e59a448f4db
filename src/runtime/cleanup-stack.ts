/**
 * The clean-up of a command, in one place, so that a command reads as a list without nesting: each step that opens something
 * is followed by the one that closes it.
 */

/** Undoes one step. `failure` is the error that ended the command, undefined where it succeeded. */
export type Undo = (failure: unknown) => unknown;

export class CleanupStack {
	readonly #undos: Undo[] = [];

	/** Calls `undo` at the end, before everything that was deferred earlier. */
	defer(undo: Undo): void {
		this.#undos.push(undo);
	}

	/**
	 * Undoes everything, in reverse order, each step after the one before it has ended. After a failed step the others still
	 * run. Returns the error that ended the command: `failure`, or else the first error of a step.
	 */
	async close(failure?: unknown): Promise<unknown> {
		let first = failure;
		for (let undo = this.#undos.pop(); undo; undo = this.#undos.pop()) {
			try {
				await undo(first);
			} catch (error) {
				first ??= error;
			}
		}
		return first;
	}
}

/**
 * Resolves with the result of `work`, after everything that it deferred is undone. Rejects with the first error of either.
 */
export async function withCleanup<T>(work: (cleanup: CleanupStack) => Promise<T>): Promise<T> {
	const cleanup = new CleanupStack();
	let result: T;
	try {
		result = await work(cleanup);
	} catch (error) {
		throw await cleanup.close(error);
	}
	const failure = await cleanup.close();
	if (failure !== undefined) throw failure;
	return result;
}

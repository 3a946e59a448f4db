/**
 * What a command has to undo at its end, in one place, so that a command reads as a list: each thing that it opens is followed
 * by how it is closed, and nothing has to nest.
 */

/** Undoes one step. `failure` is what ended the command, undefined where it succeeded. */
export type Undo = (failure: unknown) => unknown;

export class CleanupStack {
	readonly #undos: Undo[] = [];

	/** Calls `undo` at the end, before everything that was deferred earlier. */
	defer(undo: Undo): void {
		this.#undos.push(undo);
	}

	/**
	 * Undoes everything, in reverse order, each step after the one before it has ended. A step that fails does not keep the
	 * others from running. Returns what ended the command: `failure`, or else the first error of a step.
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

/** What `work` returns, after everything that it deferred is undone. Rejects with the first error of either, once. */
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

/**
 * Clean-up at the end of a test, whether it passes or fails. Helpers that start a process or create a directory register its
 * removal here, so that the tests do not have to.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

type Undo = () => unknown;

/** Of tests that run one at a time. */
const shared: Undo[] = [];
/** Of each of the tests that run side by side. */
const own = new AsyncLocalStorage<Undo[]>();

const undos = () => own.getStore() ?? shared;

/** Runs `work` with a list of its own: what is registered within, however deep, is undone by its {@link unwind} alone. */
export function apart<T>(work: () => T): T {
	return own.run([], work);
}

/** Calls `undo` when the current test (or, outside of one, the file) ends: the last registered first. */
export function afterwards(undo: Undo): void {
	undos().push(undo);
}

/** The number of registered callbacks, for {@link unwind}. */
export function mark(): number {
	return undos().length;
}

/** Calls everything that was registered after `to`; all callbacks run, and then the first error is thrown. */
export async function unwind(to: number): Promise<void> {
	const list = undos();
	const errors: unknown[] = [];
	while (list.length > to) {
		try {
			await list.pop()!();
		} catch (error) {
			errors.push(error);
		}
	}
	if (errors.length) throw errors[0];
}

/**
 * What a test leaves behind, undone when it ends, however it ends. Helpers that start a process or make a folder register
 * its end here, so that no test has to remember.
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

/** How much is registered so far: what {@link unwind} goes back to. */
export function mark(): number {
	return undos().length;
}

/** Undoes all that was registered after `to`; every one gets its turn, and the first error is thrown then. */
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

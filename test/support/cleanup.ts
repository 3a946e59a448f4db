/**
 * What a test leaves behind, undone when it ends, however it ends. Helpers that start a process or make a folder register
 * its end here, so that no test has to remember.
 */
type Undo = () => unknown;

const undos: Undo[] = [];

/** Calls `undo` when the current test (or, outside of one, the file) ends: the last registered first. */
export function afterwards(undo: Undo): void {
	undos.push(undo);
}

/** How much is registered so far: what {@link unwind} goes back to. */
export function mark(): number {
	return undos.length;
}

/** Undoes all that was registered after `to`; every one gets its turn, and the first error is thrown then. */
export async function unwind(to: number): Promise<void> {
	const errors: unknown[] = [];
	while (undos.length > to) {
		try {
			await undos.pop()!();
		} catch (error) {
			errors.push(error);
		}
	}
	if (errors.length) throw errors[0];
}

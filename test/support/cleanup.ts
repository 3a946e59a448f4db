/**
 * Clean-up at the end of a test, whether it passes or fails. Helpers that start a process or create a directory register its
 * removal here, so that the tests do not have to.
 */
type Undo = () => unknown;

const undos: Undo[] = [];

/** Calls `undo` when the current test (or, outside of one, the file) ends: the last registered first. */
export function afterwards(undo: Undo): void {
	undos.push(undo);
}

/** The number of registered callbacks, for {@link unwind}. */
export function mark(): number {
	return undos.length;
}

/** Calls everything that was registered after `to`; all callbacks run, and then the first error is thrown. */
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

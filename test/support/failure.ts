/** What something fails with. */
import * as assert from 'uvu/assert';

/** The error that `work` rejects with. Throws where it succeeds. */
export async function failureOf<E = Error>(work: Promise<unknown>): Promise<E> {
	return await work.then(
		() => assert.unreachable('it succeeded'),
		(error) => error,
	);
}

/**
 * Yields to the event loop, for signals, action scripts and other descriptors. A task whose descriptors are always ready (a
 * shard that is a file) never waits, so nothing else would run until it is done.
 */

/** The maximum time between two yields: a signal handled so late is not noticed as late. */
const MAX_MILLIS = 20;

let until = 0;

/** To be called, and its result awaited, between two steps of long work; undefined while a yield is not due. */
export function yieldToEventLoop(): Promise<void> | undefined {
	if (performance.now() < until) return undefined;
	return new Promise((resolve) =>
		setImmediate(() => {
			until = performance.now() + MAX_MILLIS;
			resolve();
		}),
	);
}

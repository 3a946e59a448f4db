/**
 * Turns of the event loop for signals, action scripts and other descriptors. Whoever finds that everything is there already
 * and that all has room (a shard that is a file) would never wait, and nobody else would run until it is done.
 */

/** The longest that work goes on without a turn: nobody notices a signal that is so late. */
const MAX_MILLIS = 20;

let until = 0;

/** To be asked for, and awaited, between two steps of long work; undefined while there is no need. */
export function yieldToEventLoop(): Promise<void> | undefined {
	if (performance.now() < until) return undefined;
	return new Promise((resolve) =>
		setImmediate(() => {
			until = performance.now() + MAX_MILLIS;
			resolve();
		}),
	);
}

/**
 * Cheap callbacks for an aborted AbortSignal. addEventListener for each wait costs more than many waits do, and Node warns
 * of more than ten listeners. So each signal has one listener here, and a set of callbacks.
 */

/** The callbacks of each signal; an entry is collected with its signal. */
const waiting = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls `wake` once when `signal` is aborted, at once where it is already. Returns a function that removes the callback. */
export function onAbort(signal: AbortSignal, wake: () => void): () => void {
	if (signal.aborted) {
		wake();
		return () => {};
	}
	const wakes = waiting.get(signal) ?? listen(signal);
	wakes.add(wake);
	return () => wakes.delete(wake);
}

function listen(signal: AbortSignal): Set<() => void> {
	const wakes = new Set<() => void>();
	waiting.set(signal, wakes);
	const wakeAll = () => {
		for (const wake of wakes) wake();
		wakes.clear();
	};
	signal.addEventListener('abort', wakeAll, { once: true });
	return wakes;
}

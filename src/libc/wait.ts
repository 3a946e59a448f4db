/** The one way to wait for a descriptor. */
import { onAbort } from './abort.js';
import { poller } from './poller.js';

export interface WaitOptions {
	/** Aborting it ends the wait, with its reason as the error. */
	signal?: AbortSignal;
	/** In milliseconds, on the clock of Date.now; Infinity (the default): none. */
	deadline?: number | undefined;
}

/**
 * Resolves with the epoll events once `fd` is readable (EPOLLIN) or writable (EPOLLOUT), or has failed or hung up; with
 * EPOLLHUP only in the latter case. Resolves with 0 when the deadline passes first. Rejects with the signal's reason if it
 * is aborted before the caller resumes, whatever the events. A regular file is always ready.
 *
 * One wait at a time per fd for input (or hang-up), one for output. An owner that closes `fd` ends them with
 * poller.interrupt, which looks like a hang-up.
 */
export async function waitFor(fd: number, events: number, options: WaitOptions = {}): Promise<number> {
	const { signal, deadline = Number.POSITIVE_INFINITY } = options;
	signal?.throwIfAborted();
	const ready = await new Promise<number>((resolve) => {
		let timer: NodeJS.Timeout | undefined;
		let release: (() => void) | undefined;
		const settle = (ready: number) => {
			clearTimeout(timer);
			release?.();
			resolve(ready);
		};
		const giveUp = () => {
			poller.cancel(fd, events);
			settle(0);
		};
		poller.once(fd, events, settle);
		if (signal) release = onAbort(signal, giveUp);
		if (deadline !== Number.POSITIVE_INFINITY) timer = setTimeout(giveUp, Math.max(0, deadline - Date.now()));
	});
	// A waiter that was woken in the same iteration of the event loop may have aborted it.
	signal?.throwIfAborted();
	return ready;
}

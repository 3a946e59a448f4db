/** A timerfd: libuv's timers count whole milliseconds. */
import { buffer, timerfdCreate, timerfdSettime } from './calls.js';
import { CLOCK_MONOTONIC, O_CLOEXEC, O_NONBLOCK } from './constants.js';
import { throwIfError } from './errno.js';

/** A timer, for the poll set. Starting it clears an expiration that was not read. */
export class Timer {
	readonly fd = throwIfError(timerfdCreate(CLOCK_MONOTONIC, O_NONBLOCK | O_CLOEXEC), 'cannot create a timer');
	/** struct itimerspec: an interval (none) and the time until it expires, each as seconds and nanoseconds. */
	readonly #spec = buffer(32);
	#resolve: (() => void) | undefined;

	start(micros: number, resolve: () => void): void {
		this.#resolve = resolve;
		this.#spec.writeInt32LE(Math.floor(micros / 1e6), 16);
		this.#spec.writeInt32LE(Math.max(1, Math.floor((micros % 1e6) * 1000)), 24);
		throwIfError(timerfdSettime(this.fd, 0, this.#spec, null), 'cannot start a timer');
	}

	ring(): void {
		const resolve = this.#resolve;
		this.#resolve = undefined;
		resolve?.();
	}
}

/**
 * One poll set for every descriptor: an epoll that libuv watches as a single descriptor.
 *
 * Node watches only descriptors that it opened itself, and one of its watchers per descriptor costs several calls; here a
 * wait is one epoll_ctl, and a wake-up delivers every descriptor that became ready. Waits are one-shot: a waiter that was
 * woken tries its call first, and waits again only after EAGAIN.
 */
import koffi from 'koffi';
import { buffer, close, epollCreate1, epollCtl, epollWait } from './calls.js';
import {
	EPOLL_CTL_ADD,
	EPOLL_CTL_DEL,
	EPOLL_CTL_MOD,
	EPOLLERR,
	EPOLLET,
	EPOLLHUP,
	EPOLLIN,
	EPOLLONESHOT,
	EPOLLOUT,
	O_CLOEXEC,
} from './constants.js';
import { EEXIST, EINTR, ENOENT, EPERM, throwIfError } from './errno.js';
import { Timer } from './timer.js';

export { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT } from './constants.js';

/** Size of struct epoll_event: packed on x86-64, padded to 16 elsewhere. */
const EVENT_BYTES = process.arch === 'x64' ? 12 : 16;
const EVENT_DATA = EVENT_BYTES - 8;
/** Events taken per wake-up; the rest is taken in the next iteration of the event loop. */
const BATCH = 128;
const FAILED = EPOLLERR | EPOLLHUP;
/** Delay between the end of the last wait and the unref of the poll set. */
const UNREF_DELAY_MILLIS = 10;

type Wake = (events: number) => void;
interface Waiters {
	input: Wake | undefined;
	/** The input waiter is woken only by a hang-up or an error. */
	hangupOnly: boolean;
	output: Wake | undefined;
	/** The descriptor is in the kernel's set. */
	registered: boolean;
}

class Poller {
	readonly #epoll = throwIfError(epollCreate1(O_CLOEXEC), 'cannot create the poll set');
	readonly #events = buffer(EVENT_BYTES * BATCH);
	readonly #event = buffer(EVENT_BYTES);
	/** The waiters by descriptor, until it is closed or released. */
	readonly #waiting = new Map<number, Waiters>();
	readonly #timers = new Map<number, Timer>();
	readonly #idleTimers: Timer[] = [];
	#active = 0;
	#handle: { ref(): unknown; unref(): unknown } | undefined;
	/** {@link #handle} keeps the process alive. */
	#referenced = false;
	#unrefDue = false;

	/**
	 * Calls `wake` with the epoll events once `fd` is readable (EPOLLIN) or writable (EPOLLOUT), or has failed or hung up;
	 * with EPOLLHUP only in the latter case. It is called from the event loop, never from here. One waiter per fd for input
	 * (or hang-up), one for output. A regular file is always ready. Most code uses waitFor (libc/wait.ts) instead.
	 */
	once(fd: number, events: number, wake: Wake): void {
		let waiters = this.#waiting.get(fd);
		if (!waiters) {
			waiters = { input: undefined, hangupOnly: false, output: undefined, registered: false };
			this.#waiting.set(fd, waiters);
		}
		if (events & EPOLLOUT ? waiters.output : waiters.input) throw new Error(`fd ${fd} is already waited for`);
		if (events & EPOLLOUT) waiters.output = wake;
		else {
			waiters.input = wake;
			waiters.hangupOnly = !(events & EPOLLIN);
		}
		this.#addActive();
		if (this.#arm(fd, waiters)) return;
		// epoll refuses regular files: they are always ready.
		this.#removeWaiter(waiters, events);
		setImmediate(wake, events);
	}

	/** Ends a wait of {@link once} without calling its waiter. */
	cancel(fd: number, events: number): void {
		const waiters = this.#waiting.get(fd);
		if (!waiters || !(events & EPOLLOUT ? waiters.output : waiters.input)) return;
		this.#removeWaiter(waiters, events);
	}

	/** Wakes the waiters of `fd` as if it had hung up, so that its owner can close it. */
	interrupt(fd: number): void {
		const waiters = this.#waiting.get(fd);
		if (!waiters) return;
		const { input, output } = waiters;
		if (input) this.#removeWaiter(waiters, EPOLLIN);
		if (output) this.#removeWaiter(waiters, EPOLLOUT);
		input?.(EPOLLHUP);
		output?.(EPOLLHUP);
	}

	/** Closes `fd`, which has no waiter any more. A descriptor that was waited for must be closed with this. */
	close(fd: number): void {
		this.#unregister(fd);
		close(fd);
	}

	/** Removes `fd` from the poll set; another owner keeps it open. */
	release(fd: number): void {
		if (this.#unregister(fd)) epollCtl(this.#epoll, EPOLL_CTL_DEL, fd, this.#event);
	}

	/**
	 * Resolves after about `micros` microseconds: libuv's timers count whole milliseconds, in which a pipe fills many times.
	 */
	pause(micros: number): Promise<void> {
		return new Promise((resolve) => {
			const timer = this.#idleTimers.pop() ?? this.#newTimer();
			timer.start(micros, resolve);
			this.#addActive();
		});
	}

	/** A timer stays in the kernel's set, so that a pause only has to start it again. */
	#newTimer(): Timer {
		const timer = new Timer();
		this.#event.writeUInt32LE((EPOLLIN | EPOLLET) >>> 0, 0);
		this.#event.writeInt32LE(timer.fd, EVENT_DATA);
		throwIfError(epollCtl(this.#epoll, EPOLL_CTL_ADD, timer.fd, this.#event), 'cannot wait for a timer');
		// A waiter of this number is of a descriptor that was closed without the poller.
		this.#waiting.delete(timer.fd);
		this.#timers.set(timer.fd, timer);
		return timer;
	}

	#ring(timer: Timer): void {
		this.#idleTimers.push(timer);
		this.#removeActive();
		timer.ring();
	}

	/** Returns whether `fd` is in the kernel's set. */
	#unregister(fd: number): boolean {
		this.cancel(fd, EPOLLIN);
		this.cancel(fd, EPOLLOUT);
		const registered = this.#waiting.get(fd)?.registered ?? false;
		this.#waiting.delete(fd);
		return registered;
	}

	#arm(fd: number, waiters: Waiters): boolean {
		const events =
			(waiters.input && !waiters.hangupOnly ? EPOLLIN : 0) | (waiters.output ? EPOLLOUT : 0) | EPOLLONESHOT;
		this.#event.writeUInt32LE(events >>> 0, 0);
		this.#event.writeInt32LE(fd, EVENT_DATA);
		let result = epollCtl(this.#epoll, waiters.registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, this.#event);
		// Closing a descriptor elsewhere removes it from the set, and its number may be in use again.
		if (result === -ENOENT) result = epollCtl(this.#epoll, EPOLL_CTL_ADD, fd, this.#event);
		else if (result === -EEXIST) result = epollCtl(this.#epoll, EPOLL_CTL_MOD, fd, this.#event);
		if (result === -EPERM) return false;
		if (result < 0) this.#removeWaiter(waiters, waiters.output ? EPOLLOUT : EPOLLIN);
		throwIfError(result, `cannot wait for fd ${fd}`);
		waiters.registered = true;
		return true;
	}

	#removeWaiter(waiters: Waiters, events: number): void {
		if (events & EPOLLOUT) waiters.output = undefined;
		else waiters.input = undefined;
		this.#removeActive();
	}

	/** The process stays alive as long as there are waiters. */
	#addActive(): void {
		this.#active++;
		if (this.#referenced) return;
		this.#referenced = true;
		if (this.#handle) this.#handle.ref();
		else this.#handle = koffi.node.poll(this.#epoll, { readable: true }, () => this.#deliver()) as never;
	}

	/** A waiter mostly waits again at once: an unref each time would cost as much as the wait. */
	#removeActive(): void {
		this.#active--;
		if (this.#active > 0 || this.#unrefDue) return;
		this.#unrefDue = true;
		setTimeout(() => {
			this.#unrefDue = false;
			if (this.#active > 0) return;
			this.#referenced = false;
			this.#handle!.unref();
		}, UNREF_DELAY_MILLIS);
	}

	#deliver(): void {
		const count = epollWait(this.#epoll, this.#events, BATCH, 0);
		if (count === -EINTR) return;
		throwIfError(count, 'cannot read the poll set');
		// A waiter may wait again meanwhile: #events is filled only by the next wake-up.
		for (let i = 0; i < count; i++) {
			const events = this.#events.readUInt32LE(i * EVENT_BYTES);
			this.#wake(this.#events.readInt32LE(i * EVENT_BYTES + EVENT_DATA), events);
		}
	}

	#wake(fd: number, events: number): void {
		const waiters = this.#waiting.get(fd);
		if (!waiters) {
			const timer = this.#timers.get(fd);
			if (timer) this.#ring(timer);
			return;
		}
		const { input, output } = waiters;
		const wakeInput = input && events & (EPOLLIN | FAILED) ? input : undefined;
		const wakeOutput = output && events & (EPOLLOUT | FAILED) ? output : undefined;
		if (wakeInput) this.#removeWaiter(waiters, EPOLLIN);
		if (wakeOutput) this.#removeWaiter(waiters, EPOLLOUT);
		// One-shot: the kernel disarmed both directions, and one of them may still have a waiter.
		if ((waiters.input || waiters.output) && this.#waiting.get(fd) === waiters) this.#arm(fd, waiters);
		wakeInput?.(events);
		wakeOutput?.(events);
	}
}

/** The poll set of this process: there is one event loop, so there is one. */
export const poller = new Poller();

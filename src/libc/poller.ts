/**
 * One poll set for every descriptor: an epoll that libuv watches as a single descriptor.
 *
 * Node watches only what it opened itself, and a watcher of its own per descriptor costs several calls; here a wait is one
 * epoll_ctl, and a wake-up brings everything that became ready. Waits are one-shot: whoever was woken tries first and
 * waits again only if the call says EAGAIN.
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

/** Of struct epoll_event: packed on x86-64, padded to 16 elsewhere. */
const EVENT_BYTES = process.arch === 'x64' ? 12 : 16;
const EVENT_DATA = EVENT_BYTES - 8;
/** Events taken per wake-up; more wait for the next turn of the loop. */
const BATCH = 128;
const FAILED = EPOLLERR | EPOLLHUP;
/** Between the last wait and letting the process end. */
const REST_MILLIS = 10;

type Wake = (events: number) => void;
interface Waiters {
	input: Wake | undefined;
	/** The input waiter wants to hear only of the other side's end. */
	hangupOnly: boolean;
	output: Wake | undefined;
	/** The kernel's set has the descriptor. */
	known: boolean;
}

class Poller {
	readonly #epoll = throwIfError(epollCreate1(O_CLOEXEC), 'cannot create the poll set');
	readonly #events = buffer(EVENT_BYTES * BATCH);
	readonly #event = buffer(EVENT_BYTES);
	/** By descriptor, until it is closed or released. */
	readonly #waiting = new Map<number, Waiters>();
	readonly #timers = new Map<number, Timer>();
	readonly #idleTimers: Timer[] = [];
	#active = 0;
	#handle: { ref(): unknown; unref(): unknown } | undefined;
	/** {@link #handle} keeps the process alive. */
	#holds = false;
	#restDue = false;

	/**
	 * Calls `wake` with the epoll events once `fd` is readable (EPOLLIN) or writable (EPOLLOUT), or has failed or hung up;
	 * with EPOLLHUP only in the latter case. It is called from the event loop, never from here. One waiter per fd for input
	 * (or hang-up), one for output. A regular file is always ready. What most want is waitFor (libc/wait.ts).
	 */
	once(fd: number, events: number, wake: Wake): void {
		let waiters = this.#waiting.get(fd);
		if (!waiters) {
			waiters = { input: undefined, hangupOnly: false, output: undefined, known: false };
			this.#waiting.set(fd, waiters);
		}
		if (events & EPOLLOUT ? waiters.output : waiters.input) throw new Error(`fd ${fd} is already waited for`);
		if (events & EPOLLOUT) waiters.output = wake;
		else {
			waiters.input = wake;
			waiters.hangupOnly = !(events & EPOLLIN);
		}
		this.#begin();
		if (this.#arm(fd, waiters)) return;
		// epoll refuses regular files: they are always ready.
		this.#drop(waiters, events);
		setImmediate(wake, events);
	}

	/** Ends a wait of {@link once}: its waiter is never called. */
	cancel(fd: number, events: number): void {
		const waiters = this.#waiting.get(fd);
		if (!waiters || !(events & EPOLLOUT ? waiters.output : waiters.input)) return;
		this.#drop(waiters, events);
	}

	/** Wakes whoever waits for `fd` as if it had hung up, so that its owner can close it. */
	interrupt(fd: number): void {
		const waiters = this.#waiting.get(fd);
		if (!waiters) return;
		const { input, output } = waiters;
		if (input) this.#drop(waiters, EPOLLIN);
		if (output) this.#drop(waiters, EPOLLOUT);
		input?.(EPOLLHUP);
		output?.(EPOLLHUP);
	}

	/** Closes `fd`, which nobody waits for any more: the only right way to close what was waited for. */
	close(fd: number): void {
		this.#forget(fd);
		close(fd);
	}

	/** Forgets `fd`, which goes on living with another owner. */
	release(fd: number): void {
		if (this.#forget(fd)) epollCtl(this.#epoll, EPOLL_CTL_DEL, fd, this.#event);
	}

	/** Resolves after about `micros` microseconds: libuv's timers count whole milliseconds, an age for a pipe. */
	pause(micros: number): Promise<void> {
		return new Promise((resolve) => {
			const timer = this.#idleTimers.pop() ?? this.#newTimer();
			timer.start(micros, resolve);
			this.#begin();
		});
	}

	/** A timer stays in the kernel's set: starting it again is all that a pause takes. */
	#newTimer(): Timer {
		const timer = new Timer();
		this.#event.writeUInt32LE((EPOLLIN | EPOLLET) >>> 0, 0);
		this.#event.writeInt32LE(timer.fd, EVENT_DATA);
		throwIfError(epollCtl(this.#epoll, EPOLL_CTL_ADD, timer.fd, this.#event), 'cannot wait for a timer');
		// Somebody else closed the descriptor that had this number.
		this.#waiting.delete(timer.fd);
		this.#timers.set(timer.fd, timer);
		return timer;
	}

	#ring(timer: Timer): void {
		this.#idleTimers.push(timer);
		this.#end();
		timer.ring();
	}

	/** Whether the kernel's set has it. */
	#forget(fd: number): boolean {
		this.cancel(fd, EPOLLIN);
		this.cancel(fd, EPOLLOUT);
		const known = this.#waiting.get(fd)?.known ?? false;
		this.#waiting.delete(fd);
		return known;
	}

	#arm(fd: number, waiters: Waiters): boolean {
		const events =
			(waiters.input && !waiters.hangupOnly ? EPOLLIN : 0) | (waiters.output ? EPOLLOUT : 0) | EPOLLONESHOT;
		this.#event.writeUInt32LE(events >>> 0, 0);
		this.#event.writeInt32LE(fd, EVENT_DATA);
		let result = epollCtl(this.#epoll, waiters.known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, this.#event);
		// A descriptor that somebody else closed left the set by itself, and its number may be in use again.
		if (result === -ENOENT) result = epollCtl(this.#epoll, EPOLL_CTL_ADD, fd, this.#event);
		else if (result === -EEXIST) result = epollCtl(this.#epoll, EPOLL_CTL_MOD, fd, this.#event);
		if (result === -EPERM) return false;
		if (result < 0) this.#drop(waiters, waiters.output ? EPOLLOUT : EPOLLIN);
		throwIfError(result, `cannot wait for fd ${fd}`);
		waiters.known = true;
		return true;
	}

	#drop(waiters: Waiters, events: number): void {
		if (events & EPOLLOUT) waiters.output = undefined;
		else waiters.input = undefined;
		this.#end();
	}

	/** libuv keeps the process alive as long as somebody waits here. */
	#begin(): void {
		this.#active++;
		if (this.#holds) return;
		this.#holds = true;
		if (this.#handle) this.#handle.ref();
		else this.#handle = koffi.node.poll(this.#epoll, { readable: true }, () => this.#deliver()) as never;
	}

	/** Who waited mostly waits again at once: letting go of the process each time would cost as much as the wait. */
	#end(): void {
		this.#active--;
		if (this.#active > 0 || this.#restDue) return;
		this.#restDue = true;
		setTimeout(() => {
			this.#restDue = false;
			if (this.#active > 0) return;
			this.#holds = false;
			this.#handle!.unref();
		}, REST_MILLIS);
	}

	#deliver(): void {
		const count = epollWait(this.#epoll, this.#events, BATCH, 0);
		if (count === -EINTR) return;
		throwIfError(count, 'cannot read the poll set');
		// Copied first: a waiter may wait again, but only the next wake-up may fill #events.
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
		if (wakeInput) this.#drop(waiters, EPOLLIN);
		if (wakeOutput) this.#drop(waiters, EPOLLOUT);
		// One-shot: the kernel disarmed both directions, and one of them may still be waited for.
		if ((waiters.input || waiters.output) && this.#waiting.get(fd) === waiters) this.#arm(fd, waiters);
		wakeInput?.(events);
		wakeOutput?.(events);
	}
}

/** The poll set of this process: there is one event loop, so there is one. */
export const poller = new Poller();

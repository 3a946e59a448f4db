/**
 * The questions of the action script of a dump or a restore: does the socket for CRIU exist, and is the whole stream
 * delivered? (proto/control.proto). The answers are set by other modules; a client may ask before that, and waits.
 *
 * An answer is about one CRIU, and only its own scripts get it (slots.ts): "the stream is delivered" as an answer to the
 * script of another dump would end an application whose image is lost. So connections are accepted here, where the kernel
 * tells which process made them; the rest uses Node's net.
 */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { close } from '../libc/calls.js';
import { poller } from '../libc/poller.js';
import { acceptAll } from '../net/accept-all.js';
import { listenUnix, peerOf } from '../net/unix-socket.js';
import type { control } from '../proto/messages.js';
import { registerCleanup, removeRegistered } from '../runtime/cleanup.js';
import { type Asker, Client, type ClientEvents, type Subject } from './client.js';
import { FifoClient, removeLeftFifos } from './fifo-client.js';
import { isSame, type Lineage, lineageOf } from './lineage.js';
import { controlSocketName, type Role } from './paths.js';
import { Slots } from './slots.js';

/** One action script asks at a time; the rest is a reserve for other programs. */
const MAX_CLIENTS = 32;
/** Answers fit into any socket's buffer, so a client that has not read them by then hangs. */
const DRAIN_MILLIS = 1000;
/** After a failure a script that comes later still fails, with a less specific error. */
const FAILED_LINGER_MILLIS = 2000;

/** Answers action scripts, on a socket in the work dir, from the constructor until {@link ControlServer.close}. */
export class ControlServer {
	/** The path of the socket. */
	readonly path: string;
	readonly #fd: number;
	readonly #endAccepting: () => void;
	readonly #slots: Slots;
	readonly #clients = new Set<Asker>();
	/** The one among the clients that is none of the control socket, once a script has claimed this capture. */
	#fifos: FifoClient | undefined;
	/** Scripts that asked for the end of the stream, and disconnected, before a CRIU was connected. */
	readonly #departed = new Set<Lineage>();
	readonly #answers = new Map<Subject, control.Answer.$Properties>();
	readonly #givenUp = new AbortController();
	#resolveFinishedAsked!: () => void;
	readonly #events: ClientEvents = {
		question: (client, subject) =>
			subject === 'finished' ? this.#answerFinished(client) : this.#answerReady(client),
		leave: (client) => this.#handleLeave(client),
		close: (client) => this.#clients.delete(client),
	};
	#failed = false;
	#closed = false;

	/** Resolves when a script of the connected CRIU asks whether the stream is delivered: CRIU has then written everything. */
	readonly finishedAsked = new Promise<void>((resolve) => {
		this.#resolveFinishedAsked = resolve;
	});

	/** `criuClients` CRIUs are served. */
	constructor(
		readonly workDir: string,
		readonly role: Role,
		criuClients: number,
	) {
		this.path = join(workDir, controlSocketName(role));
		this.#slots = new Slots(role, criuClients);
		this.#fd = listenUnix(this.path, 'connection');
		registerCleanup(this.path);
		if (role === 'capture') removeLeftFifos(workDir);
		this.#endAccepting = acceptAll(this.#fd, (fd) => this.#accept(fd));
	}

	/**
	 * Aborted, with an error as its reason, when a script that waits for the end of the stream disconnects: it failed, so CRIU
	 * lets the application run on, which changes pages that are still in transit as references. The stream must not be
	 * completed.
	 */
	get givenUp(): AbortSignal {
		return this.#givenUp.signal;
	}

	/** How many questions wait for their answer. */
	get waiting(): number {
		return [...this.#clients].reduce((sum, { waiting }) => sum + waiting, 0);
	}

	/** Whether a script of CRIU `pid`, which is connected, has asked at pre-stream. */
	hasScriptOf(pid: number): boolean {
		return this.#slots.hasScriptOf(pid);
	}

	/** CRIU `pid` (0: it cannot be seen from here) is connected to the image socket, and about to be served. */
	connected(pid: number): void {
		this.#slots.connect(pid);
		for (const client of this.#clients) this.#answerFinished(client);
		for (const line of this.#departed) if (this.#slots.serves(line)) this.#giveUp();
		this.#departed.clear();
	}

	/** CRIU can connect: scripts that wait for that are answered. */
	criuSocketReady(): void {
		this.#publish('ready', { done: {} });
	}

	/**
	 * The stream is delivered (written, and where that can be known, received): scripts let CRIU end the application. Throws
	 * where a script has {@link givenUp} before: then the application runs on.
	 */
	finish(): void {
		this.givenUp.throwIfAborted();
		this.#publish('finished', { done: {} });
	}

	/** The stream failed: scripts fail with `reason`, and CRIU lets the application live. After {@link finish}: nothing. */
	fail(reason: string): void {
		if (this.#answers.has('finished')) return;
		this.#failed = true;
		this.#publish('ready', { failed: { reason } });
		this.#publish('finished', { failed: { reason } });
	}

	/**
	 * Resolves when no script can send a question any more. The script of a dump runs while CRIU holds its image socket open,
	 * and may ask long after the image was complete: so the streamer, with all its shards closed, stays until `criuClosed`
	 * resolves (CRIU closed its connection, or none was ever made). A stream that failed waits two seconds at most.
	 */
	async linger(criuClosed: Promise<unknown>): Promise<void> {
		const closed = criuClosed.catch(() => {});
		await (this.#failed ? Promise.race([closed, delay(FAILED_LINGER_MILLIS)]) : closed);
	}

	/**
	 * Unlinks the socket, and resolves once all questions are answered (with a failure where nothing was decided), or
	 * after three seconds. Safe to call twice.
	 */
	async close(): Promise<void> {
		if (this.#closed) return;
		this.#closed = true;
		this.fail('the streamer was stopped');
		if (this.#fifos) await within(FAILED_LINGER_MILLIS, this.#fifos.end());
		this.#fifos?.destroy();
		removeRegistered(this.path);
		this.#endAccepting();
		poller.close(this.#fd);
		await within(DRAIN_MILLIS, Promise.all([...this.#clients].map((client) => client.end())));
		for (const client of this.#clients) client.destroy();
	}

	#publish(subject: Subject, answer: control.Answer.$Properties): void {
		if (this.#answers.has(subject)) return;
		this.#answers.set(subject, answer);
		for (const client of this.#clients) {
			if (subject === 'finished') this.#answerFinished(client);
			else this.#answer(client, subject);
		}
	}

	#answer(client: Asker, subject: Subject): void {
		const answer = this.#answers.get(subject);
		if (answer) client.answer(subject, answer);
	}

	#answerReady(client: Asker): void {
		const refusal = this.#failed ? undefined : this.#slots.claim(client.line);
		if (refusal === undefined) {
			if (this.role === 'capture' && !this.#failed) this.#offerFifos(client.line);
			this.#answer(client, 'ready');
		} else client.answer('ready', { refused: { reason: refusal } });
	}

	#answerFinished(client: Asker): void {
		if (!client.waitsFor('finished')) return;
		if (this.#slots.serves(client.line)) {
			this.#resolveFinishedAsked();
			this.#answer(client, 'finished');
		} else if (this.#slots.inUse) client.answer('finished', { refused: { reason: this.#slots.refusal() } });
		// A small dump may be complete before its connection is accepted: until a CRIU is connected its script waits.
		else if (this.#failed) this.#answer(client, 'finished');
	}

	/** Handles the disconnection of a script before its answer, which matters only if it waited for the end of the stream. */
	#handleLeave(client: Asker): void {
		if (!client.waitsFor('finished')) return;
		if (this.#slots.serves(client.line)) this.#giveUp();
		else if (this.#departed.size < MAX_CLIENTS) this.#departed.add(client.line);
	}

	#giveUp(): void {
		const reason = 'the action script ended before the stream was out, so the application runs on';
		this.#givenUp.abort(new Error(reason));
		this.fail(reason);
	}

	#accept(fd: number): void {
		if (this.#clients.size >= MAX_CLIENTS) {
			close(fd);
			return;
		}
		this.#clients.add(new Client(fd, lineageOf(peerOf(fd).pid), this.#events));
	}

	/** Lets the script of the CRIU that the script with `line` belongs to ask without Node, where that is possible. */
	#offerFifos(line: Lineage): void {
		const criu = this.#slots.claimedBy(line);
		if (!criu?.start || (this.#fifos && isSame(this.#fifos.criu, criu))) return;
		this.#fifos?.destroy();
		this.#fifos = undefined;
		try {
			this.#fifos = new FifoClient(this.workDir, criu, line, this.#events);
			this.#clients.add(this.#fifos);
		} catch {
			// The file system has no FIFOs: the script asks on the control socket.
		}
	}
}

/** Resolves when `ended` does, or after `millis`. */
async function within(millis: number, ended: Promise<unknown>): Promise<void> {
	const expired = new AbortController();
	await Promise.race([ended, delay(millis, undefined, { signal: expired.signal }).catch(() => {})]);
	expired.abort();
}

/** Starts to answer the action scripts of `criuClients` CRIUs in `workDir`. Throws where its socket cannot be made. */
export function serveControl(workDir: string, role: Role, criuClients = 1): ControlServer {
	return new ControlServer(workDir, role, criuClients);
}

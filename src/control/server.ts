/**
 * What the action script of a dump or a restore can ask the streamer: is the socket for CRIU there, and is every byte out?
 * (proto/control.proto). The answers are decided elsewhere; a client may ask before or after that, and waits.
 *
 * Node's net does the talking, on a socket that libc/unix-socket.ts bound: 0600, under a path of any length.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { listenUnix } from '../libc/unix-socket.js';
import { control } from '../proto/messages.js';
import { leaves, remove } from '../run/leftovers.js';
import { Deframer, frame } from '../wire/frame.js';
import { controlSocketName, type Role } from './paths.js';

/** A question is a few bytes long. */
const MOST_QUESTION_BYTES = 64;
/** One action script asks at a time; the rest is for people who look. */
const MOST_CLIENTS = 32;
/** A client that is connected for so long without a whole question is dropped. */
const QUESTION_MILLIS = 10_000;
/** Answers fit into any socket's buffer, so a client that has not taken them by then never will. */
const DRAIN_MILLIS = 1000;
/** After a failure the script need not find anybody: it fails just as well, only with fewer words. */
const FAILED_LINGER_MILLIS = 2000;

type Subject = 'ready' | 'finished';

/** Answers action scripts, on a socket in the work dir, from its making until {@link ControlServer.close}. */
export class ControlServer {
	/** Of the socket. */
	readonly path: string;
	readonly #server: Server;
	/** Each client, with what it waits to hear. */
	readonly #clients = new Map<Socket, Set<Subject>>();
	readonly #answers = new Map<Subject, Buffer>();
	readonly #givenUp = new AbortController();
	#failed = false;
	#asked = false;
	#closed = false;

	constructor(workDir: string, role: Role) {
		this.path = join(workDir, controlSocketName(role));
		this.#server = createServer({ allowHalfOpen: true }, (client) => this.#serve(client));
		this.#server.maxConnections = MOST_CLIENTS;
		// Out of descriptors, for one: whoever asks finds no answer, and fails as it should.
		this.#server.on('error', () => {});
		this.#server.listen({ fd: listenUnix(this.path, 'connection') });
		leaves(this.path);
		this.#server.unref();
	}

	/**
	 * Aborted, with an error as its reason, when a script that waits for the end of the stream leaves: it failed, so CRIU lets
	 * the application run on, and pages that are still on their way as references change. The stream must not be completed.
	 */
	get givenUp(): AbortSignal {
		return this.#givenUp.signal;
	}

	/** Whether an action script of the CRIU that is process `pid` has asked before the dump. */
	hasScriptOf(_pid: number): boolean {
		return this.#asked;
	}

	/** How many questions wait for their answer. */
	get waiting(): number {
		return [...this.#clients.values()].reduce((sum, asked) => sum + asked.size, 0);
	}

	/** CRIU can connect: scripts that wait for that go on. */
	criuSocketReady(): void {
		this.#decide('ready', { done: {} });
	}

	/**
	 * Every byte is out (and, where it can be known, received): scripts let CRIU end the application. Throws where a script
	 * has {@link givenUp} before: then the application runs on.
	 */
	finish(): void {
		this.givenUp.throwIfAborted();
		this.#decide('finished', { done: {} });
	}

	/** The stream failed: scripts fail with `reason`, and CRIU lets the application live. After {@link finish}: nothing. */
	fail(reason: string): void {
		if (this.#answers.has('finished')) return;
		this.#failed = true;
		this.#decide('ready', { failed: { reason } });
		this.#decide('finished', { failed: { reason } });
	}

	/**
	 * Resolves when no script can ask any more. The script of a dump runs while CRIU holds its image socket open, and may
	 * come long after the image was complete: so the streamer, with all its shards closed, stays until `criuClosed`
	 * resolves (CRIU closed its connection, or none was ever made). A stream that failed waits two seconds at most.
	 */
	async linger(criuClosed: Promise<unknown>): Promise<void> {
		const closed = criuClosed.catch(() => {});
		await (this.#failed ? Promise.race([closed, delay(FAILED_LINGER_MILLIS)]) : closed);
	}

	/**
	 * Unlinks the socket, and resolves once those who asked have their answers (a failure where nothing was decided), or
	 * after a second. Safe to call twice.
	 */
	async close(): Promise<void> {
		if (this.#closed) return;
		this.#closed = true;
		remove(this.path);
		this.fail('the streamer was stopped');
		this.#server.close();
		const ended = [...this.#clients.keys()].map(
			(client) => new Promise<void>((resolve) => client.once('close', () => resolve()).end(() => resolve())),
		);
		const expired = new AbortController();
		await Promise.race([
			Promise.all(ended),
			delay(DRAIN_MILLIS, undefined, { signal: expired.signal }).catch(() => {}),
		]);
		expired.abort();
		for (const client of this.#clients.keys()) client.destroy();
	}

	#decide(subject: Subject, answer: control.Answer.$Properties): void {
		if (this.#answers.has(subject)) return;
		this.#answers.set(subject, frame(control.Answer.encode(answer).finish()));
		for (const [client, asked] of this.#clients) if (asked.has(subject)) this.#answer(client, asked, subject);
	}

	#answer(client: Socket, asked: Set<Subject>, subject: Subject): void {
		asked.delete(subject);
		client.write(this.#answers.get(subject)!);
	}

	#giveUp(): void {
		const reason = 'the action script ended before the stream was out, so the application runs on';
		this.#givenUp.abort(new Error(reason));
		this.fail(reason);
	}

	#serve(client: Socket): void {
		const asked = new Set<Subject>();
		const messages = new Deframer('an action script', MOST_QUESTION_BYTES);
		client.unref();
		this.#clients.set(client, asked);
		// A script that gives up ends its side first and reads on: it learns whether it was too late to.
		client.on('end', () => {
			if (asked.has('finished')) this.#giveUp();
			client.end();
		});
		client.on('close', () => {
			this.#clients.delete(client);
			if (asked.has('finished')) this.#giveUp();
		});
		client.on('error', () => client.destroy());
		client.setTimeout(QUESTION_MILLIS, () => {
			if (asked.size === 0) client.destroy();
		});
		client.on('data', (bytes) => {
			// A client that does not take its answers asks for no more.
			if (client.writableNeedDrain) return client.destroy();
			try {
				messages.push(bytes as Buffer);
				for (let message = messages.next(); message; message = messages.next()) {
					const subject = subjectOf(message);
					asked.add(subject);
					if (subject === 'ready') this.#asked = true;
					if (this.#answers.has(subject)) this.#answer(client, asked, subject);
				}
			} catch {
				client.destroy();
			}
		});
	}
}

/** Starts to answer action scripts in `workDir`. Throws where its socket cannot be made. */
export function serveControl(workDir: string, role: Role): ControlServer {
	return new ControlServer(workDir, role);
}

function subjectOf(message: Uint8Array): Subject {
	const { body } = control.Question.decode(message);
	if (!body) throw new Error('an action script asked for something that this version does not know');
	return body;
}

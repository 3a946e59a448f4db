/** A connection to the control socket: the questions of the process at its other end, and the answers still due. */
import { Socket } from 'node:net';
import { Deframer, frame } from '../net/frame.js';
import { control } from '../proto/messages.js';
import type { Lineage } from './lineage.js';

/** A question is a few bytes long. */
const MAX_QUESTION_BYTES = 64;
/** A client without a complete question in this time is disconnected. */
const QUESTION_MILLIS = 10_000;

export type Subject = 'ready' | 'finished';

/** An action script that asks, in whatever way. */
export interface Asker {
	/** Of the script, or of one that asked before it for the same CRIU. */
	readonly line: Lineage;
	/** How many questions wait for their answer. */
	readonly waiting: number;
	waitsFor(subject: Subject): boolean;
	/** Answers `subject`, if that is still due. */
	answer(subject: Subject, body: control.Answer.$Properties): void;
	/** Ends the connection; resolves once the answers have left. */
	end(): Promise<void>;
	destroy(): void;
}

export interface ClientEvents {
	/** It sent a question; {@link Asker.waitsFor} is true for it from then on. */
	question(client: Asker, subject: Subject): void;
	/** It has shut down its side. Open questions are still answered: the answer shows whether it gave up too late. */
	leave(client: Asker): void;
	/** The connection is closed. */
	close(client: Asker): void;
}

export class Client implements Asker {
	readonly #socket: Socket;
	readonly #waiting = new Set<Subject>();

	/** Owns the connected `fd`, of the process with `line`. */
	constructor(
		fd: number,
		readonly line: Lineage,
		events: ClientEvents,
	) {
		const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
		const messages = new Deframer('an action script', MAX_QUESTION_BYTES);
		this.#socket = socket;
		socket.unref();
		socket.on('end', () => {
			events.leave(this);
			socket.end();
		});
		socket.on('close', () => {
			events.leave(this);
			events.close(this);
		});
		socket.on('error', () => socket.destroy());
		socket.setTimeout(QUESTION_MILLIS, () => {
			if (this.#waiting.size === 0) socket.destroy();
		});
		socket.on('data', (bytes) => {
			// A client that does not read its answers is disconnected.
			if (socket.writableNeedDrain) return socket.destroy();
			try {
				messages.push(bytes as Buffer);
				for (let message = messages.next(); message; message = messages.next()) {
					const subject = subjectOf(message);
					this.#waiting.add(subject);
					events.question(this, subject);
				}
			} catch {
				socket.destroy();
			}
		});
	}

	get waiting(): number {
		return this.#waiting.size;
	}

	waitsFor(subject: Subject): boolean {
		return this.#waiting.has(subject);
	}

	answer(subject: Subject, body: control.Answer.$Properties): void {
		if (this.#waiting.delete(subject)) this.#socket.write(frame(control.Answer.encode(body).finish()));
	}

	end(): Promise<void> {
		return new Promise((resolve) => {
			this.#socket.once('close', () => resolve()).end(() => resolve());
		});
	}

	destroy(): void {
		this.#socket.destroy();
	}
}

function subjectOf(message: Uint8Array): Subject {
	const { body } = control.Question.decode(message);
	if (!body) throw new Error('an action script asked for something that this version does not know');
	return body;
}

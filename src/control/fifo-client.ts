/**
 * The action script at post-dump, as a shell without Node: the application is frozen until it has its answer, and Node alone
 * takes longer to start than a small dump to be written. A shell cannot use a socket, so there are two FIFOs, made when the
 * script asks at pre-stream, and named after its CRIU.
 *
 * Only "the stream is delivered" goes this way. Without that the answer ends, and the shell is replaced by Node, which asks on
 * the control socket: reasons, long waits and the check of CRIU are written once. Node inherits the FIFO of the question, so
 * that its end is the end of the script in both cases.
 */
import { openSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buffer, close, mkfifo, read, write } from '../libc/calls.js';
import { O_NONBLOCK, O_RDONLY, O_RDWR } from '../libc/constants.js';
import { EAGAIN, EINTR, throwIfError } from '../libc/errno.js';
import { EPOLLIN, poller } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import type { control } from '../proto/messages.js';
import { registerCleanup, removeRegistered } from '../runtime/cleanup.js';
import type { Asker, ClientEvents, Subject } from './client.js';
import type { Lineage, Process } from './lineage.js';
import { fifoNames, isFifoName } from './paths.js';

const QUESTION = 'finished\n';
const DONE = Buffer.from('done\n');
/** More than a question, so that a longer one is not taken for it. */
const READ_BYTES = 64;

export class FifoClient implements Asker {
	readonly #paths: readonly string[];
	readonly #events: ClientEvents;
	/** Read-only: the script's end is the end of the input. */
	readonly #question: number;
	/** Also for reading, since a FIFO without a reader cannot be opened for writing only. Undefined: closed. */
	#answer: number | undefined;
	#asked = false;
	#closed = false;
	#resolveEnd!: () => void;
	readonly #end = new Promise<void>((resolve) => {
		this.#resolveEnd = resolve;
	});

	/**
	 * Creates the FIFOs for the scripts of `criu`, which the process with `line` descends from. Throws where the work dir
	 * cannot have them.
	 */
	constructor(
		workDir: string,
		readonly criu: Process,
		readonly line: Lineage,
		events: ClientEvents,
	) {
		const names = fifoNames(criu);
		const question = join(workDir, names.question);
		const answer = join(workDir, names.answer);
		this.#paths = [question, answer];
		this.#events = events;
		let opened: number | undefined;
		try {
			opened = createFifo(question, O_RDONLY);
			this.#answer = createFifo(answer, O_RDWR);
		} catch (error) {
			if (opened !== undefined) close(opened);
			this.#remove();
			throw error;
		}
		this.#question = opened;
		// Without the FIFOs the script asks on the socket.
		this.#listen().catch(() => this.destroy());
	}

	get waiting(): number {
		return this.#asked && this.#answer !== undefined ? 1 : 0;
	}

	waitsFor(subject: Subject): boolean {
		return subject === 'finished' && this.waiting > 0;
	}

	answer(subject: Subject, { done }: control.Answer.$Properties): void {
		if (!this.waitsFor(subject)) return;
		if (done) {
			write(this.#answer!, DONE, DONE.length);
			// The script has both FIFOs open, and finds the answer there.
			this.destroy();
		} else this.#closeAnswer();
	}

	/** Resolves once a script that had no good news has ended: it asks for the reason on the control socket until then. */
	end(): Promise<void> {
		if (!this.#asked) this.destroy();
		return this.#end;
	}

	destroy(): void {
		if (this.#closed) return;
		this.#closed = true;
		this.#remove();
		poller.interrupt(this.#question);
		poller.close(this.#question);
		this.#closeAnswer();
		this.#events.close(this);
		this.#resolveEnd();
	}

	async #listen(): Promise<void> {
		const bytes = buffer(READ_BYTES);
		for (;;) {
			await waitFor(this.#question, EPOLLIN);
			if (this.#closed) return;
			const count = read(this.#question, bytes, READ_BYTES);
			if (count === -EAGAIN || count === -EINTR) continue;
			if (count <= 0) break;
			if (this.#asked) continue;
			if (bytes.toString('latin1', 0, count) !== QUESTION) break;
			this.#asked = true;
			this.#events.question(this, 'finished');
			if (this.#closed) return;
		}
		this.#events.leave(this);
		this.destroy();
	}

	#closeAnswer(): void {
		if (this.#answer !== undefined) close(this.#answer);
		this.#answer = undefined;
	}

	#remove(): void {
		for (const path of this.#paths) removeRegistered(path);
	}
}

/** Creates a FIFO at `path`, in place of a leftover, and opens it. */
function createFifo(path: string, flags: number): number {
	registerCleanup(path);
	rmSync(path, { force: true });
	throwIfError(mkfifo(path, 0o600), `cannot create the FIFO ${path}`);
	return openSync(path, flags | O_NONBLOCK);
}

/** Removes what a capture that was killed has left in `workDir`, where no other runs. */
export function removeLeftFifos(workDir: string): void {
	let names: string[] = [];
	try {
		names = readdirSync(workDir);
	} catch {
		// A directory may be writable without being readable.
	}
	for (const name of names) if (isFifoName(name)) removeRegistered(join(workDir, name));
}

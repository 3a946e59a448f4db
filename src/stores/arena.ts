/**
 * A file without a name in which parts of many image files lie one behind the other: in memory (memfd), or on a disk
 * (--spool). One descriptor holds them all, however many there are: a process with a hard limit of 256 open files has to
 * replay thousands of large ones, too.
 *
 * The file only grows: what was read is given back to the system by punching holes, and the rest when it is closed.
 */
import { closeSync, openSync } from 'node:fs';
import { buffer, close, fallocate, memfdCreate } from '../libc/calls.js';
import {
	FALLOC_FL_KEEP_SIZE,
	FALLOC_FL_PUNCH_HOLE,
	MFD_CLOEXEC,
	O_RDWR,
	O_TMPFILE,
	PAGE,
} from '../libc/constants.js';
import { errnoText, throwIfError } from '../libc/errno.js';
import { fileLimitHint } from '../libc/file-limit.js';
import { StreamError } from '../runtime/stream-error.js';

/** Copied at a time on the way to CRIU. */
const CHUNK = 256 << 10;

export class Arena {
	/** Where the next range begins, at least. */
	#end = 0;
	/** The range that may grow. */
	#last: object | undefined;
	#closed = false;
	#chunk: Buffer | undefined;

	/** Owns `fd`. `directory`: where the file is, or undefined for memory. */
	private constructor(
		readonly fd: number,
		readonly directory: string | undefined,
	) {}

	static inMemory(): Arena {
		return new Arena(
			throwIfError(memfdCreate('image', MFD_CLOEXEC), 'cannot keep the image in memory'),
			undefined,
		);
	}

	/** In `directory`, on whose file system there must be room. */
	static inDirectory(directory: string): Arena {
		try {
			return new Arena(openSync(directory, O_TMPFILE | O_RDWR, 0o600), directory);
		} catch (error) {
			const many = (error as NodeJS.ErrnoException).code === 'EMFILE';
			const cure = many ? fileLimitHint() : 'choose a directory on a local disk';
			throw new Error(`cannot make an unnamed file in the spool directory ${directory}: ${cure}`, {
				cause: error,
			});
		}
	}

	/**
	 * Where a range begins that has no byte yet: on a page of its own, so that all of it can be given back. From then on the
	 * ranges before it cannot grow any more.
	 */
	begin(range: object): number {
		this.#last = range;
		this.#end = Math.ceil(this.#end / PAGE) * PAGE;
		return this.#end;
	}

	/** Whether nothing has begun behind `range`. */
	canGrow(range: object): boolean {
		return this.#last === range;
	}

	/** The last range has so many bytes more. */
	grew(bytes: number): void {
		this.#end += bytes;
	}

	/**
	 * The bytes from `from` up to `to` are not needed any more. They must not wait in a pipe by reference: the kernel may
	 * overwrite them with zeros instead of freeing them, where its pages are larger than what is given back.
	 */
	giveBack(from: number, to: number): void {
		if (this.#closed || to <= from) return;
		fallocate(this.fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, from, to - from);
	}

	/** For copies; every call may overwrite its content. */
	get chunk(): Buffer {
		return (this.#chunk ??= buffer(CHUNK));
	}

	close(): void {
		if (this.#closed) return;
		this.#closed = true;
		if (this.directory === undefined) close(this.fd);
		else closeSync(this.fd);
	}

	/** An error about a write that returned `result`: it names what is short, and the cure. */
	full(result: number): Error {
		const text = errnoText(result);
		return new StreamError(
			this.directory === undefined ? 'MEMORY_SHORT' : 'SPOOL_FULL',
			this.directory === undefined
				? `cannot keep the image in memory: ${text}`
				: `cannot keep the image in the spool directory ${this.directory}: ${text}; make room there, or name another directory`,
		);
	}
}

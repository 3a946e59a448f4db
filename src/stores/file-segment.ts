/**
 * A part of a large file in a file without a name: in memory (memfd), or on a disk (--spool). Unlike a pipe it can be read
 * twice, and has no limit of its own.
 */
import { closeSync, openSync } from 'node:fs';
import { close, fallocate, memfdCreate, pwrite, splice } from '../libc/calls.js';
import {
	FALLOC_FL_KEEP_SIZE,
	FALLOC_FL_PUNCH_HOLE,
	MFD_CLOEXEC,
	O_RDWR,
	O_TMPFILE,
	PAGE,
	SPLICE_F_MOVE,
	SPLICE_F_NONBLOCK,
} from '../libc/constants.js';
import { EINTR, ENOMEM, ENOSPC, errnoText, must } from '../libc/errno.js';
import type { Segment } from './segment.js';

/** Given back at a time: punching holes costs a call, and memory is short by then. */
const GIVE_BACK = 8 << 20;

/** In memory. */
export function parkInMemory(): Segment {
	return new FileSegment(
		must(memfdCreate('image', MFD_CLOEXEC), 'cannot keep the image in memory'),
		'memory',
	);
}

/** In `folder`, on whose file system there must be room. */
export function parkInFolder(folder: string): Segment {
	try {
		return new FileSegment(openSync(folder, O_TMPFILE | O_RDWR, 0o600), folder);
	} catch (error) {
		throw new Error(`cannot make an unnamed file in --spool ${folder}: choose a folder on a local disk`, {
			cause: error,
		});
	}
}

class FileSegment implements Segment {
	bytes = 0;
	#released = 0;
	readonly #at = new BigInt64Array(new ArrayBuffer(8));

	/** `folder`: where the file is, or undefined for memory. */
	constructor(
		readonly fd: number,
		readonly folder: string | undefined,
	) {}

	get inMemory(): boolean {
		return this.folder === undefined;
	}

	append(from: Buffer): number {
		for (;;) {
			const written = pwrite(this.fd, from, from.length, this.bytes);
			if (written === -EINTR) continue;
			if (written < 0) throw this.#full(written);
			this.bytes += written;
			return written;
		}
	}

	move(from: number, bytes: number): number {
		this.#at[0] = BigInt(this.bytes);
		const moved = splice(from, null, this.fd, this.#at, bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (moved > 0) this.bytes += moved;
		if (moved === -ENOSPC || moved === -ENOMEM) throw this.#full(moved);
		return moved;
	}

	seal(): void {}

	send(at: number, to: number, bytes: number): number {
		this.#at[0] = BigInt(at);
		return splice(this.fd, this.#at, to, null, bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	}

	skip(): void {}

	release(at: number): void {
		const until = at - (at % PAGE);
		if (until - this.#released < GIVE_BACK) return;
		const mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
		fallocate(this.fd, mode, this.#released, until - this.#released);
		this.#released = until;
	}

	close(): void {
		if (this.inMemory) close(this.fd);
		else closeSync(this.fd);
	}

	#full(result: number): Error {
		const text = errnoText(result);
		return new Error(
			this.folder === undefined
				? `cannot keep the image in memory: ${text}; let a part of it go to a disk with --spool DIR`
				: `cannot keep the image in --spool ${this.folder}: ${text}`,
		);
	}
}

/**
 * A part of a large file in an arena (see arena.ts). Unlike a pipe it can be read twice, and has no limit of its own, but it
 * grows only until another part has begun behind it.
 */
import { pread, pwrite, splice, write } from '../libc/calls.js';
import { PAGE, SPLICE_F_MOVE, SPLICE_F_NONBLOCK } from '../libc/constants.js';
import { callError, EINTR, EIO, ENOMEM, ENOSPC } from '../libc/errno.js';
import { pipeSize } from '../libc/pipes.js';
import type { Arena } from './arena.js';
import type { Segment } from './segment.js';

/** Given back at a time: punching holes costs a call, and memory is short by then. */
const GIVE_BACK = 8 << 20;

export class FileSegment implements Segment {
	bytes = 0;
	/** In the arena. */
	#start = 0;
	/** Up to here pages were given back. */
	#released = 0;
	/** Up to here bytes went to CRIU. */
	#sent = 0;
	readonly #at = new BigInt64Array(new ArrayBuffer(8));

	/** With `keep` nothing is given back before the arena is closed. */
	constructor(
		readonly arena: Arena,
		readonly keep: boolean,
	) {}

	get inMemory(): boolean {
		return this.arena.directory === undefined;
	}

	append(from: Buffer): number {
		if (!this.#mayGrow()) return 0;
		for (;;) {
			const written = pwrite(this.arena.fd, from, from.length, this.#start + this.bytes);
			if (written === -EINTR) continue;
			if (written < 0) throw this.arena.full(written);
			this.#grew(written);
			return written;
		}
	}

	move(from: number, bytes: number): number {
		if (!this.#mayGrow()) return 0;
		this.#at[0] = BigInt(this.#start + this.bytes);
		const moved = splice(from, null, this.arena.fd, this.#at, bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (moved > 0) this.#grew(moved);
		if (moved === -ENOSPC || moved === -ENOMEM) throw this.arena.full(moved);
		return moved;
	}

	seal(): void {}

	/**
	 * By reference, but the last bytes as a copy, unless they are kept: as many as fit into the pipe. When all are sent, then
	 * none of them waits there by reference, and the range can be given back.
	 */
	send(at: number, to: number, bytes: number): number {
		const left = this.bytes - at - (this.keep ? 0 : pipeSize(to));
		const sent = left > 0 ? this.#refer(at, to, Math.min(bytes, left)) : this.#copy(at, to, bytes);
		if (sent > 0) this.#sent = Math.max(this.#sent, at + sent);
		return sent;
	}

	readAt(at: number, target: Uint8Array): number {
		for (let done = 0; done < target.length; ) {
			const left = target.length - done;
			const got = pread(this.arena.fd, target.subarray(done), left, this.#start + at + done);
			if (got === -EINTR) continue;
			if (got <= 0) throw callError('cannot read a part of the image', got || -EIO);
			done += got;
		}
		return target.length;
	}

	skip(at: number, bytes: number): void {
		this.#sent = Math.max(this.#sent, at + bytes);
	}

	release(at: number): void {
		if (this.keep) return;
		const until = at - (at % PAGE);
		if (until - this.#released < GIVE_BACK) return;
		this.arena.giveBack(this.#start + this.#released, this.#start + until);
		this.#released = until;
	}

	close(): void {
		if (this.keep || !this.bytes) return;
		// Where CRIU left early, what went last may wait in its pipe.
		const from = this.#sent === this.bytes ? this.#released : Math.ceil(this.#sent / PAGE) * PAGE;
		this.arena.giveBack(this.#start + from, this.#start + Math.ceil(this.bytes / PAGE) * PAGE);
		this.#released = this.#sent = this.bytes;
	}

	/** Whether there is room behind it; at its first byte there always is. */
	#mayGrow(): boolean {
		if (!this.bytes) this.#start = this.arena.begin(this);
		return this.arena.canGrow(this);
	}

	#grew(bytes: number): void {
		this.bytes += bytes;
		this.arena.grew(bytes);
	}

	#refer(at: number, to: number, bytes: number): number {
		this.#at[0] = BigInt(this.#start + at);
		return splice(this.arena.fd, this.#at, to, null, bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	}

	#copy(at: number, to: number, bytes: number): number {
		const { fd, chunk } = this.arena;
		const read = pread(fd, chunk, Math.min(bytes, this.bytes - at, chunk.length), this.#start + at);
		return read > 0 ? write(to, chunk, read) : read;
	}
}

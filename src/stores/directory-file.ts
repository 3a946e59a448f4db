/**
 * A file of an images directory that has its name only at the end. A large one has none until then, where the file system can
 * make such files, else a temporary one; a small one is in memory.
 */
import { closeSync, existsSync, fsync, openSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { LAST_IMAGE } from '../images/names.js';
import { linkat, pwrite, splice } from '../libc/calls.js';
import {
	AT_FDCWD,
	AT_SYMLINK_FOLLOW,
	O_CREAT,
	O_EXCL,
	O_RDONLY,
	O_TMPFILE,
	O_WRONLY,
	SPLICE_F_MOVE,
	SPLICE_F_NONBLOCK,
} from '../libc/constants.js';
import { callError, EAGAIN, EEXIST, EINTR, errnoOf, errnoText, explained } from '../libc/errno.js';
import { registerCleanup, removeRegistered, unregisterCleanup } from '../runtime/cleanup.js';
import { StreamError } from '../runtime/stream-error.js';
import type { Correction } from '../stream/corrections.js';
import type { StoredFile } from '../stream/image.js';
import type { FileWriter } from '../stream/store.js';

/** Files up to this size are small. */
const SMALL = 64 << 10;
const sync = promisify(fsync);
/** Of files with a temporary name: those of the image may be as long as a name can be. */
let unfinished = 0;

/** What a file needs from its store. */
export interface Owner {
	/** Whether `bytes` more may be held in memory; they count from then on. */
	mayHold(bytes: number): boolean;
	/** Whether one more unnamed file may be open; it counts from then on. */
	mayOpen(): boolean;
	/** The file is complete. */
	ended(file: DirectoryFile): void;
}

/** One file of a directory. */
export class DirectoryFile implements FileWriter, StoredFile {
	readonly isLast: boolean;
	readonly #patches: Correction[] = [];
	#parts: Buffer[] = [];
	#size = 0;
	#fd: number | undefined;
	/** Of a file that could not be made without one. */
	#temporary: string | undefined;
	#named = false;
	readonly #at = new BigInt64Array(new ArrayBuffer(8));

	constructor(
		readonly directory: string,
		readonly name: string,
		readonly owner: Owner,
	) {
		this.isLast = name === LAST_IMAGE;
	}

	expect(bytes: number): boolean {
		if (this.#fd !== undefined) return true;
		if (this.size + bytes > SMALL || !this.owner.mayHold(bytes)) this.write();
		return this.#fd !== undefined;
	}

	append(bytes: Buffer): undefined {
		if (this.#fd === undefined) this.#parts.push(Buffer.from(bytes));
		else {
			this.#write(bytes, this.#size);
			this.#size += bytes.length;
		}
	}

	move(from: number, bytes: number): number {
		this.#at[0] = BigInt(this.#size);
		const moved = splice(from, null, this.#fd!, this.#at, bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (moved === -EAGAIN || moved === -EINTR) return -EAGAIN;
		if (moved < 0) throw this.#error(moved);
		this.#size += moved;
		return moved;
	}

	whenRoom(): Promise<void> {
		return Promise.resolve();
	}

	end(): void {
		this.closeUntilNamed();
		this.owner.ended(this);
	}

	patch(offset: number, bytes: Uint8Array): void {
		this.#patches.push({ offset, bytes });
	}

	/** Bytes that came so far. */
	get size(): number {
		return this.#parts.reduce((sum, { length }) => sum + length, this.#size);
	}

	/** Writes what is in memory into the file, and what replaces a part of it. */
	write(): void {
		if (this.#fd === undefined && this.#temporary === undefined) this.#open();
		for (const part of this.#parts) {
			this.#write(part, this.#size);
			this.#size += part.length;
		}
		this.#parts = [];
		if (this.#patches.length) this.#fd ??= openSync(this.#temporary!, O_WRONLY);
		for (const { offset, bytes } of this.#patches.splice(0)) this.#write(bytes, offset);
	}

	async sync(): Promise<void> {
		try {
			this.#fd ??= openSync(this.#temporary!, O_RDONLY);
			await sync(this.#fd);
		} catch (error) {
			throw new Error(`cannot write ${this.#path} to the disk: ${errnoText(errnoOf(error))}`);
		}
	}

	/** Gives the file its name. */
	giveName(overwrite: boolean): void {
		let from = this.#temporary;
		if (from === undefined) {
			if (overwrite) from = this.#temporaryPath();
			const to = from ?? this.#path;
			if (from) registerCleanup(from);
			const result = linkat(AT_FDCWD, `/proc/self/fd/${this.#fd}`, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
			if (result === -EEXIST)
				throw new StreamError(
					from ? 'FAILED' : 'FILE_EXISTS',
					`${to} was made by another process meanwhile: choose an empty directory`,
				);
			if (result < 0) throw callError(`cannot name ${to}`, result);
		}
		if (from) {
			if (!overwrite && existsSync(this.#path))
				throw new StreamError(
					'FILE_EXISTS',
					`${this.#path} was made by another process meanwhile: choose an empty directory`,
				);
			explained(`cannot name ${this.#path}`, () => renameSync(from, this.#path));
			unregisterCleanup(from);
		}
		this.#named = true;
		this.#closeFd();
	}

	/** A file that has a name already needs no descriptor until it gets its own. */
	closeUntilNamed(): void {
		if (this.#temporary) this.#closeFd();
	}

	/** With `failed`, a name that was given is taken back. */
	close(failed: boolean): void {
		this.#closeFd();
		if (!this.#named && this.#temporary) removeRegistered(this.#temporary);
		if (this.#named && failed) removeRegistered(this.#path);
	}

	get #path(): string {
		return join(this.directory, this.name);
	}

	#temporaryPath(): string {
		return join(this.directory, `.image.${process.pid}.${unfinished++}`);
	}

	#open(): void {
		if (this.owner.mayOpen()) {
			try {
				this.#fd = openSync(this.directory, O_TMPFILE | O_WRONLY, 0o600);
				return;
			} catch {
				// Not every file system has files without names.
			}
		}
		const path = this.#temporaryPath();
		this.#temporary = path;
		registerCleanup(path);
		const open = () => openSync(path, O_WRONLY | O_CREAT | O_EXCL, 0o600);
		this.#fd = explained(`cannot make a file in ${this.directory}`, open);
	}

	#closeFd(): void {
		if (this.#fd !== undefined) closeSync(this.#fd);
		this.#fd = undefined;
	}

	#write(bytes: Uint8Array, offset: number): void {
		for (let at = 0; at < bytes.length; ) {
			const written = pwrite(this.#fd!, bytes.subarray(at), bytes.length - at, offset + at);
			if (written === -EINTR) continue;
			if (written < 0) throw this.#error(written);
			at += written;
		}
	}

	#error(result: number): Error {
		return callError(`cannot write ${this.#path}`, result);
	}
}

/**
 * An images folder: what extract writes for a plain `criu restore`.
 *
 * A folder must never look like an image that it is not, so files get their names at the very end, inventory.img last of
 * all. Until then a large one has no name (a process that is killed leaves nothing), and small ones are in memory.
 */
import { closeSync, constants, existsSync, fsync, lstatSync, openSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { linkat, pwrite, splice, syncfs } from '../libc/calls.js';
import { SPLICE_F_MOVE, SPLICE_F_NONBLOCK } from '../libc/constants.js';
import { callError, EAGAIN, EEXIST, EINTR } from '../libc/errno.js';
import { raiseFileLimit } from '../libc/file-limit.js';
import { makeFolder } from '../libc/make-folder.js';
import { gone, leaves, remove } from '../run/leftovers.js';
import type { FileWriter, Store } from './store.js';

/** An unnamed file, where the file system can make one; Node has no name for the flag. */
const O_TMPFILE = 0o20200000;
const AT_FDCWD = -100;
const AT_SYMLINK_FOLLOW = 0x400;
/** Of small files, held until the end in memory. */
const MOST_HELD = 64 << 20;
/** Files up to this size are small. */
const SMALL = 64 << 10;
/** Unnamed files that are open at a time; half of what a process may open, where that is less. */
const MOST_OPEN = 4096;
/** More files than these are synced all at once, with their file system. */
const MOST_SYNCED = 64;
const LAST_IMAGE = 'inventory.img';
const sync = promisify(fsync);
/** Of files with a temporary name: those of the image may be as long as a name can be. */
let unfinished = 0;

export class FolderStore implements Store {
	readonly #files = new Map<string, FolderFile>();
	#held = 0;
	#open = 0;
	readonly #mostOpen = Math.min(MOST_OPEN, raiseFileLimit() >> 1);
	#finished = false;

	/** Writes into `folder`, which is made if absent. */
	constructor(
		readonly folder: string,
		readonly overwrite: boolean,
	) {
		try {
			makeFolder(folder);
		} catch (error) {
			throw new Error(`cannot make the images folder ${folder}`, { cause: error });
		}
	}

	create(name: string): FileWriter {
		if (!this.overwrite && lstatSync(join(this.folder, name), { throwIfNoEntry: false })) {
			throw new Error(`${join(this.folder, name)} exists: choose an empty --images-dir, or say --overwrite`);
		}
		const file = new FolderFile(this.folder, name, {
			mayHold: (bytes) => {
				if (this.#held + bytes > MOST_HELD) return false;
				this.#held += bytes;
				return true;
			},
			mayOpen: () => this.#open < this.#mostOpen && ++this.#open > 0,
		});
		this.#files.set(name, file);
		return file;
	}

	/** Gives the files of a whole image their names, and resolves when they are on the disk. */
	async finish(): Promise<void> {
		const files = [...this.#files.values()].sort((a, b) => Number(a.isLast) - Number(b.isLast));
		const many = files.length > MOST_SYNCED;
		const folder = openSync(this.folder, constants.O_RDONLY | constants.O_DIRECTORY);
		try {
			for (const file of files) {
				file.write();
				if (!many) await file.sync();
				file.rest();
			}
			if (many) await syncAll(folder, this.folder);
			for (const file of files) file.giveName(this.overwrite);
			await sync(folder);
			this.#finished = true;
		} finally {
			closeSync(folder);
		}
	}

	/** Lets go of what has no name, and removes what has one although {@link finish} failed. */
	close(): void {
		for (const file of this.#files.values()) file.close(!this.#finished);
	}
}

async function syncAll(folder: number, path: string): Promise<void> {
	const result = await syncfs(folder);
	if (result < 0) throw callError(`cannot write the files in ${path} to the disk`, result);
}

interface Limits {
	mayHold(bytes: number): boolean;
	mayOpen(): boolean;
}

class FolderFile implements FileWriter {
	readonly isLast: boolean;
	#parts: Buffer[] = [];
	#size = 0;
	#fd: number | undefined;
	/** Of a file that could not be made without one. */
	#temporary: string | undefined;
	#named = false;
	readonly #at = new BigInt64Array(new ArrayBuffer(8));

	constructor(
		readonly folder: string,
		readonly name: string,
		readonly limits: Limits,
	) {
		this.isLast = name === LAST_IMAGE;
	}

	expect(bytes: number): boolean {
		if (this.#fd !== undefined) return true;
		const waiting = this.#parts.reduce((sum, part) => sum + part.length, 0);
		if (waiting + bytes > SMALL || !this.limits.mayHold(bytes)) this.write();
		return this.#fd !== undefined;
	}

	append(bytes: Buffer): undefined {
		if (this.#fd === undefined) this.#parts.push(Buffer.from(bytes));
		else this.#write(bytes);
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
		this.rest();
	}

	/** What is in memory goes into the file. */
	write(): void {
		if (this.#fd === undefined && this.#temporary === undefined) this.#open();
		for (const part of this.#parts) this.#write(part);
		this.#parts = [];
	}

	async sync(): Promise<void> {
		try {
			this.#fd ??= openSync(this.#temporary!, constants.O_RDONLY);
			await sync(this.#fd);
		} catch (error) {
			throw new Error(`cannot write ${this.#path} to the disk`, { cause: error });
		}
	}

	/** Gives the file its name. */
	giveName(overwrite: boolean): void {
		let from = this.#temporary;
		if (from === undefined) {
			if (overwrite) from = this.#temporaryPath();
			const to = from ?? this.#path;
			if (from) leaves(from);
			const result = linkat(AT_FDCWD, `/proc/self/fd/${this.#fd}`, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
			if (result === -EEXIST)
				throw new Error(`${to} was made by somebody else meanwhile: choose an empty --images-dir`);
			if (result < 0) throw callError(`cannot name ${to}`, result);
		}
		if (from) {
			if (!overwrite && existsSync(this.#path))
				throw new Error(`${this.#path} was made by somebody else meanwhile`);
			renameSync(from, this.#path);
			gone(from);
		}
		this.#named = true;
		this.#closeFd();
	}

	/** A file that has a name already needs no descriptor until it gets its own. */
	rest(): void {
		if (this.#temporary) this.#closeFd();
	}

	/** With `failed`, a name that was given is taken back. */
	close(failed: boolean): void {
		this.#closeFd();
		if (!this.#named && this.#temporary) remove(this.#temporary);
		if (this.#named && failed) remove(this.#path);
	}

	get #path(): string {
		return join(this.folder, this.name);
	}

	#temporaryPath(): string {
		return join(this.folder, `.image.${process.pid}.${unfinished++}`);
	}

	#open(): void {
		const flags = constants.O_WRONLY;
		if (this.limits.mayOpen()) {
			try {
				this.#fd = openSync(this.folder, O_TMPFILE | flags, 0o600);
				return;
			} catch {
				// Not every file system has files without names.
			}
		}
		this.#temporary = this.#temporaryPath();
		leaves(this.#temporary);
		this.#fd = openSync(this.#temporary, flags | constants.O_CREAT | constants.O_EXCL, 0o600);
	}

	#closeFd(): void {
		if (this.#fd !== undefined) closeSync(this.#fd);
		this.#fd = undefined;
	}

	#write(bytes: Buffer): void {
		for (let at = 0; at < bytes.length; ) {
			const written = pwrite(this.#fd!, bytes.subarray(at), bytes.length - at, this.#size);
			if (written === -EINTR) continue;
			if (written < 0) throw this.#error(written);
			at += written;
			this.#size += written;
		}
	}

	#error(result: number): Error {
		return callError(`cannot write ${this.#path}`, result);
	}
}

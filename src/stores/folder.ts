/**
 * An images folder: what extract writes for a plain `criu restore`.
 *
 * A folder must never look like an image that it is not, so files get their names at the very end, inventory.img last of
 * all. Until then a large one has no name (a process that is killed leaves nothing), and small ones are in memory.
 */
import { closeSync, existsSync, fsync, lstatSync, openSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { linkat, pwrite, splice, syncfs } from '../libc/calls.js';
import {
	AT_FDCWD,
	AT_SYMLINK_FOLLOW,
	O_CREAT,
	O_DIRECTORY,
	O_EXCL,
	O_RDONLY,
	O_TMPFILE,
	O_WRONLY,
	SPLICE_F_MOVE,
	SPLICE_F_NONBLOCK,
} from '../libc/constants.js';
import { callError, EAGAIN, EEXIST, EINTR, errnoOf, errnoText, explained } from '../libc/errno.js';
import { makeFolder } from '../libc/make-folder.js';
import { raiseFileLimit } from '../libc/pipes.js';
import { gone, leaves, remove } from '../run/leftovers.js';
import { LAST_IMAGE } from '../wire/image-name.js';
import type { FileWriter, Store } from './store.js';

/** Of small files, held until the end in memory. */
const MOST_HELD = 64 << 20;
/** Files up to this size are small. */
const SMALL = 64 << 10;
/** Unnamed files that are open at a time; half of what a process may open, where that is less. */
const MOST_OPEN = 4096;
/** More files than these are synced all at once, with their file system. */
const MOST_SYNCED = 64;
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
		explained(`cannot make the images folder ${folder}`, () => makeFolder(folder));
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

	patch(name: string, offset: number, bytes: Uint8Array): void {
		const file = this.#files.get(name);
		if (!file || offset + bytes.length > file.size)
			throw new Error(`the image has no byte ${offset} of ${name}, which it corrects: it is damaged`);
		file.patches.push({ offset, bytes });
	}

	/** Gives the files of a whole image their names, and resolves when they are on the disk. */
	async finish(): Promise<void> {
		const files = [...this.#files.values()].sort((a, b) => Number(a.isLast) - Number(b.isLast));
		const many = files.length > MOST_SYNCED;
		const open = () => openSync(this.folder, O_RDONLY | O_DIRECTORY);
		const folder = explained(`cannot open the images folder ${this.folder}`, open);
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
	readonly patches: { offset: number; bytes: Uint8Array }[] = [];
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
		if (this.size + bytes > SMALL || !this.limits.mayHold(bytes)) this.write();
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
		this.rest();
	}

	/** Bytes that came so far. */
	get size(): number {
		return this.#parts.reduce((sum, { length }) => sum + length, this.#size);
	}

	/** What is in memory goes into the file, and what replaces a part of it. */
	write(): void {
		if (this.#fd === undefined && this.#temporary === undefined) this.#open();
		for (const part of this.#parts) {
			this.#write(part, this.#size);
			this.#size += part.length;
		}
		this.#parts = [];
		if (this.patches.length) this.#fd ??= openSync(this.#temporary!, O_WRONLY);
		for (const { offset, bytes } of this.patches.splice(0)) this.#write(bytes, offset);
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
			if (from) leaves(from);
			const result = linkat(AT_FDCWD, `/proc/self/fd/${this.#fd}`, AT_FDCWD, to, AT_SYMLINK_FOLLOW);
			if (result === -EEXIST)
				throw new Error(`${to} was made by somebody else meanwhile: choose an empty --images-dir`);
			if (result < 0) throw callError(`cannot name ${to}`, result);
		}
		if (from) {
			if (!overwrite && existsSync(this.#path))
				throw new Error(`${this.#path} was made by somebody else meanwhile`);
			explained(`cannot name ${this.#path}`, () => renameSync(from, this.#path));
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
		if (this.limits.mayOpen()) {
			try {
				this.#fd = openSync(this.folder, O_TMPFILE | O_WRONLY, 0o600);
				return;
			} catch {
				// Not every file system has files without names.
			}
		}
		const path = this.#temporaryPath();
		this.#temporary = path;
		leaves(path);
		const open = () => openSync(path, O_WRONLY | O_CREAT | O_EXCL, 0o600);
		this.#fd = explained(`cannot make a file in ${this.folder}`, open);
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

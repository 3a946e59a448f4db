/**
 * An images directory: what extract writes for a plain `criu restore`.
 *
 * A directory must never look like an image that it is not, so files get their names at the very end, inventory.img last of
 * all. Until then a large one has no name (a process that is killed leaves nothing), and small ones are in memory.
 */
import { closeSync, fsync, lstatSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { syncfs } from '../libc/calls.js';
import { O_DIRECTORY, O_RDONLY } from '../libc/constants.js';
import { callError, explained } from '../libc/errno.js';
import { raiseFileLimit } from '../libc/file-limit.js';
import { makeDirectory } from '../runtime/make-directory.js';
import { StreamError } from '../runtime/stream-error.js';
import type { FileWriter, Store } from '../stream/store.js';
import { DirectoryFile } from './directory-file.js';

/** Of small files, held until the end in memory. */
const MAX_HELD = 64 << 20;
/** Unnamed files that are open at a time; half of what a process may open, where that is less. */
const MAX_OPEN = 4096;
/** More files than these are synced all at once, with their file system. */
const MAX_SYNCED = 64;
const sync = promisify(fsync);

export class DirectoryStore implements Store {
	readonly #files = new Map<string, DirectoryFile>();
	#held = 0;
	#open = 0;
	readonly #mostOpen = Math.min(MAX_OPEN, raiseFileLimit() >> 1);
	#finished = false;

	/** Writes into `folder`, which is made if absent. */
	constructor(
		readonly folder: string,
		readonly overwrite: boolean,
	) {
		explained(`cannot make the images folder ${folder}`, () => makeDirectory(folder));
	}

	create(name: string): FileWriter {
		if (!this.overwrite && lstatSync(join(this.folder, name), { throwIfNoEntry: false })) {
			throw new StreamError('FILE_EXISTS', `${join(this.folder, name)} exists: choose an empty directory`);
		}
		const file = new DirectoryFile(this.folder, name, {
			mayHold: (bytes) => {
				if (this.#held + bytes > MAX_HELD) return false;
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
		const many = files.length > MAX_SYNCED;
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

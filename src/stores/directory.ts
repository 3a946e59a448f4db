/**
 * An images directory: what extract writes for a plain `criu restore`.
 *
 * A directory must not look complete before it is, so files get their names at the very end, inventory.img last of
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
import { Image } from '../stream/image.js';
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
	readonly image = new Image<DirectoryFile>();
	/** Those that have begun. */
	readonly #files: DirectoryFile[] = [];
	#held = 0;
	#open = 0;
	readonly #maxOpen = Math.min(MAX_OPEN, raiseFileLimit() >> 1);
	#finished = false;

	/** Writes into the directory at `path`, which is made if absent. */
	constructor(
		readonly path: string,
		readonly overwrite: boolean,
	) {
		explained(`cannot make the images directory ${path}`, () => makeDirectory(path));
	}

	create(name: string): FileWriter {
		const path = join(this.path, name);
		if (!this.overwrite && lstatSync(path, { throwIfNoEntry: false })) {
			throw new StreamError('FILE_EXISTS', `${path} exists: choose an empty directory`);
		}
		const file = new DirectoryFile(this.path, name, {
			mayHold: (bytes) => {
				if (this.#held + bytes > MAX_HELD) return false;
				this.#held += bytes;
				return true;
			},
			mayOpen: () => this.#open < this.#maxOpen && ++this.#open > 0,
			ended: (file) => this.image.add(file),
		});
		this.#files.push(file);
		return file;
	}

	/** Gives the files of a whole image their names, and resolves when they are on the disk. */
	async finish(): Promise<void> {
		const files = [...this.image.files].sort((a, b) => Number(a.isLast) - Number(b.isLast));
		const many = files.length > MAX_SYNCED;
		const open = () => openSync(this.path, O_RDONLY | O_DIRECTORY);
		const directory = explained(`cannot open the images directory ${this.path}`, open);
		try {
			for (const file of files) {
				file.write();
				if (!many) await file.sync();
				file.closeUntilNamed();
			}
			if (many) await syncAll(directory, this.path);
			for (const file of files) file.giveName(this.overwrite);
			await sync(directory);
			this.#finished = true;
		} finally {
			closeSync(directory);
		}
	}

	/** Closes what has no name, and removes what has one although {@link finish} failed. */
	close(): void {
		for (const file of this.#files) file.close(!this.#finished);
	}
}

async function syncAll(directory: number, path: string): Promise<void> {
	const result = await syncfs(directory);
	if (result < 0) throw callError(`cannot write the files in ${path} to the disk`, result);
}

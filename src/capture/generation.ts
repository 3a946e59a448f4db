/**
 * The images directory of one dump on the disk, and through its link named `parent` those of the dumps that it builds on: each
 * has only the pages that have changed since the one before (criu pre-dump and dump with --prev-images-dir).
 */
import {
	closeSync,
	constants,
	fstatSync,
	openSync,
	readdirSync,
	readFileSync,
	realpathSync,
	statSync,
} from 'node:fs';
import { join } from 'node:path';
import { Pagemap } from '../images/pagemap.js';
import { errnoOf, errnoText, explained } from '../libc/errno.js';

/** A link to the images directory of the dump before. */
const PARENT_LINK = 'parent';
/** Of a process with memory in ten million pieces; what is larger is damaged. */
const MAX_PAGEMAP_BYTES = 256 << 20;

export class Generation {
	/** By the name of their pagemap, without those that are not there. */
	readonly #pagemaps = new Map<string, Pagemap | undefined>();

	private constructor(
		/** Absolute, without links. */
		readonly path: string,
		/** 0 for the newest dump, 1 for the one before … */
		readonly depth: number,
		/** Of the dump before. */
		readonly parent: Generation | undefined,
		/** Why there is none, in words. */
		readonly whyNoParent: string,
	) {}

	/**
	 * Finds the dump in `path`, and those before it.
	 * @throws where there is no such directory, or the chain has no end
	 */
	static find(path: string): Generation {
		const directory = explained(`cannot read the images directory ${path}`, () => realpathSync(path));
		return Generation.#at(directory, 0, new Set());
	}

	static #at(path: string, depth: number, newer: ReadonlySet<string>): Generation {
		if (newer.has(path))
			throw new Error(
				`the links named ${PARENT_LINK} from ${[...newer, path].join(' to ')} lead in a circle`,
			);
		const link = join(path, PARENT_LINK);
		let parent: Generation | undefined;
		let why = `${link} is missing`;
		try {
			if (statSync(link).isDirectory())
				parent = Generation.#at(realpathSync(link), depth + 1, new Set([...newer, path]));
			else why = `${link} leads to no directory`;
		} catch (error) {
			if (errnoOf(error) === 0) throw error;
			why = `${link}: ${errnoText(errnoOf(error))}`;
		}
		return new Generation(path, depth, parent, why);
	}

	/** The names of its regular files. */
	names(): string[] {
		const list = () => readdirSync(this.path, { withFileTypes: true });
		const entries = explained(`cannot read the images directory ${this.path}`, list);
		return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
	}

	/** Opens one of its files, which is then the caller's to close. Also returns its size in bytes. */
	open(name: string): { fd: number; size: number } {
		const path = join(this.path, name);
		// A FIFO of that name would be waited for without O_NONBLOCK.
		const { O_RDONLY, O_NONBLOCK, O_NOFOLLOW } = constants;
		const fd = explained(`cannot open ${path}`, () => openSync(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW));
		const stat = fstatSync(fd);
		if (stat.isFile()) return { fd, size: stat.size };
		closeSync(fd);
		throw new Error(`${path} is no regular file`);
	}

	/** The size in bytes of the file `name`. */
	sizeOf(name: string): number {
		const { fd, size } = this.open(name);
		closeSync(fd);
		return size;
	}

	/** A pagemap by its name; undefined where this dump has none: it did not know the process yet. Read once. */
	pagemap(name: string): Pagemap | undefined {
		if (!this.#pagemaps.has(name)) this.#pagemaps.set(name, this.#read(name));
		return this.#pagemaps.get(name);
	}

	/** Lets go of a pagemap that was read. */
	forget(name: string): void {
		this.#pagemaps.delete(name);
	}

	#read(name: string): Pagemap | undefined {
		const path = join(this.path, name);
		if (!statSync(path, { throwIfNoEntry: false })) return undefined;
		const { fd, size } = this.open(name);
		try {
			if (size > MAX_PAGEMAP_BYTES)
				throw new Error(`${path} has ${size} bytes, more than any pagemap: it is damaged`);
			return new Pagemap(readFileSync(fd), path);
		} finally {
			closeSync(fd);
		}
	}
}

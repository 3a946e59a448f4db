/**
 * An images directory that is on the disk already, as criu dump left it, as the source of a stream. Where it is the last of a chain
 * of incremental dumps, the stream has the ordinary image that the chain stands for. inventory.img goes last, as CRIU sends it.
 */
import { closeSync } from 'node:fs';
import {
	isByProduct,
	isPagemap,
	isPages,
	LAST_IMAGE,
	PROCESSES,
	pagemapOfMappings,
} from '../images/names.js';
import { StreamError } from '../runtime/stream-error.js';
import { yieldToEventLoop } from '../runtime/yield.js';
import { CORRECTIONS } from '../stream/corrections.js';
import { checkImageName } from '../stream/image-name.js';
import { type FlatMemory, flatMemory, type Layer } from './chain.js';
import type { FilePart } from './file-parts.js';
import { Generation } from './generation.js';
import type { ImageSender } from './image-sender.js';

/** A directory that was found to be a whole image. */
export class ImagesDirectory {
	private constructor(
		readonly newest: Generation,
		/** In the order in which they are sent. */
		readonly names: readonly string[],
		/** What is flattened, by the names of its pagemap and of its pages image. */
		readonly flat: ReadonlyMap<string, FlatMemory>,
		/** Files that are not sent: a streaming CRIU does not send them either. */
		readonly leftOut: readonly string[],
	) {}

	/**
	 * Checks the images directory at `path`, and those that it builds on. It may be a work directory too, with sockets and logs.
	 * @param allowIncomplete what is there is the image, whatever is missing of a dump
	 * @throws where it is not a whole image
	 */
	static async open(path: string, allowIncomplete: boolean): Promise<ImagesDirectory> {
		const newest = Generation.find(path);
		const all = newest.names();
		if (!allowIncomplete) checkComplete(newest, new Set(all));
		const names = all.filter((name) => name !== LAST_IMAGE && !isByProduct(name)).sort();
		for (const name of names) checkImageName(name, path);
		if (names.includes(CORRECTIONS))
			throw new Error(
				`${path} has a ${CORRECTIONS}, which belongs to a stream and not to an images directory`,
			);
		const flat = new Map<string, FlatMemory>();
		for (const name of names.filter(isPagemap)) {
			const memory = await flatMemory(newest, name);
			if (!memory) continue;
			if (flat.has(memory.pagesName))
				throw new Error(`two pagemaps of ${path} have the same ${memory.pagesName}`);
			flat.set(name, memory).set(memory.pagesName, memory);
			if (!names.includes(memory.pagesName)) names.push(memory.pagesName);
		}
		if (all.includes(LAST_IMAGE)) names.push(LAST_IMAGE);
		return new ImagesDirectory(newest, names, flat, all.filter(isByProduct));
	}

	/** Sends all files. Resolves when they are at their end. */
	async send(image: ImageSender): Promise<void> {
		for (const name of this.names) {
			await yieldToEventLoop();
			const memory = this.flat.get(name);
			if (memory && isPages(name)) await this.#sendPages(memory, image);
			else if (memory) await image.sendBytes(name, memory.pagemap);
			else await this.#sendFile(name, image);
		}
	}

	async #sendFile(name: string, image: ImageSender): Promise<void> {
		if (!isPages(name)) {
			image.begin(name);
			await image.send({ name, fd: this.newest.open(name).fd, by: 'copy' });
			return;
		}
		const { fd, size } = this.newest.open(name);
		try {
			const whole = { fd, path: `${this.newest.path}/${name}`, offset: 0, bytes: size };
			await image.sendParts(name, [whole]);
		} finally {
			closeSync(fd);
		}
	}

	async #sendPages(memory: FlatMemory, image: ImageSender): Promise<void> {
		const files = new OpenLayers();
		try {
			await image.sendParts(memory.pagesName, files.parts(memory));
		} finally {
			files.close();
		}
	}
}

/** The pages images that one memory is spread over; owns their descriptors. */
class OpenLayers {
	readonly #fds = new Map<Layer, number>();

	*parts(memory: FlatMemory): Generator<FilePart> {
		for (const { source, offset, bytes } of memory.extents()) {
			const { generation, pagesName } = source;
			let fd = this.#fds.get(source);
			if (fd === undefined) {
				fd = generation.open(pagesName).fd;
				this.#fds.set(source, fd);
			}
			yield { fd, path: `${generation.path}/${pagesName}`, offset, bytes };
		}
	}

	close(): void {
		for (const fd of this.#fds.values()) closeSync(fd);
	}
}

function checkComplete(directory: Generation, names: ReadonlySet<string>): void {
	const { path } = directory;
	const incomplete = (why: string) =>
		new StreamError('DUMP_INCOMPLETE', `${path} is not a complete image: ${why}`);
	if (!names.has(LAST_IMAGE)) throw incomplete(`it has no ${LAST_IMAGE}, which CRIU writes last`);
	if (!directory.sizeOf(LAST_IMAGE)) throw incomplete(`its ${LAST_IMAGE}, which CRIU writes last, is empty`);
	if (!names.has(PROCESSES))
		throw incomplete(`it has no ${PROCESSES}; a pre-dump has none: give the directory of the dump after it`);
	for (const name of names) {
		const pagemap = pagemapOfMappings(name);
		if (pagemap && !names.has(pagemap))
			throw incomplete(
				`it has ${name} without ${pagemap}; where the dump sent its pages to a page server, copy what that wrote here`,
			);
	}
}

/**
 * pagemap-ID.img: which pages of a task, or of shared memory, the dump has, and where. Its entries are runs of pages in
 * ascending order of addresses; those that are present follow each other in the pages image.
 */
import { Reader } from 'protobufjs/minimal.js';
import { PAGE } from '../libc/constants.js';
import { images } from '../proto/images.js';
import { imageOf, recordsOf } from './records.js';

const PAGEMAP_MAGIC = 0x56084025;

/** Flags of an entry (PE_* of CRIU). The pages are in the images directory of the dump before. */
export const PARENT = 1;
/** The pages may follow after the process has started. */
export const LAZY = 2;
/** The pages are in the pages image. An entry that has neither this nor PARENT has no bytes anywhere. */
export const PRESENT = 4;

/** Pages with successive addresses. */
export interface PageRun {
	/** Of the first byte, a multiple of the page size. Exact: a double holds every multiple of a page below 2^65. */
	readonly address: number;
	readonly bytes: number;
	readonly flags: number;
	/** Of the first byte in the pages image; of no meaning where the run is not {@link PRESENT}. */
	readonly offset: number;
	/** The message, where it has fields that are not known here: it passes on unchanged, so the run is not to be cut. */
	readonly record?: Uint8Array;
}

/** A part of a pages image. */
export interface ImageRange {
	/** Offset of its first byte. */
	offset: number;
	/** The address that this byte has in the task. */
	address: number;
	bytes: number;
}

/** A decoded pagemap. */
export class Pagemap {
	readonly runs: PageRun[] = [];
	/** N of pages-N.img. */
	readonly pagesId: number;
	/** Bytes that the pages image has; unknown where it is compressed. */
	readonly pagesBytes: number;
	/** The pages image has blocks of compressed pages, so that no offset of a run is known. */
	readonly compressed: boolean;
	/** The first message, unchanged. */
	readonly head: Uint8Array;
	/** The entries count their pages in the field of CRIU 4.2; otherwise in that of 4.1, which 4.2 reads too. */
	readonly counts64: boolean;

	/**
	 * @param image the content of the file `name`
	 * @throws where it is not a pagemap
	 */
	constructor(
		image: Buffer,
		readonly name: string,
	) {
		let [head, offset, end, compressed, counts64]: [
			Uint8Array | undefined,
			number,
			number,
			boolean,
			boolean,
		] = [undefined, 0, 0, false, false];
		for (const record of recordsOf(image, PAGEMAP_MAGIC, name)) {
			if (!head) {
				head = record;
				continue;
			}
			const entry = decodeEntry(record, name);
			const run = runOf(entry, record, offset);
			if (run.address % PAGE) throw new Error(`${name} has an address that is not that of a page`);
			if (run.address < end) throw new Error(`${name} is not in order of addresses`);
			end = run.address + run.bytes;
			if (end > 2 ** 64) throw new Error(`${name} has pages beyond the end of memory`);
			if (run.flags & PRESENT) offset += run.bytes;
			compressed ||= has(entry, 'blocks');
			counts64 ||= has(entry, 'nr_pages');
			this.runs.push(run);
		}
		if (!head) throw new Error(`${name} has no head`);
		this.head = head;
		this.pagesId = decodeHead(head, name);
		this.pagesBytes = offset;
		this.compressed = compressed;
		this.counts64 = counts64;
	}

	/** The name of its pages image. */
	get pagesName(): string {
		return `pages-${this.pagesId}.img`;
	}

	/**
	 * The parts of the pages image that hold `bytes` from `address` on; none where the image does not have these pages.
	 * @throws where the pages are compressed
	 */
	locate(address: number, bytes: number): ImageRange[] {
		if (this.compressed) throw new Error(`${this.name} has compressed pages`);
		const found: ImageRange[] = [];
		const end = address + bytes;
		for (let i = this.#firstEndingAfter(address); i < this.runs.length; i++) {
			const run = this.runs[i]!;
			if (run.address >= end) break;
			if (!(run.flags & PRESENT)) continue;
			const from = Math.max(address, run.address);
			const to = Math.min(end, run.address + run.bytes);
			found.push({ offset: run.offset + (from - run.address), address: from, bytes: to - from });
		}
		return found;
	}

	/** Binary search: a task may have as many runs as pages. */
	#firstEndingAfter(address: number): number {
		let low = 0;
		let high = this.runs.length;
		while (low < high) {
			const middle = (low + high) >> 1;
			const { address: start, bytes } = this.runs[middle]!;
			if (start + bytes > address) high = middle;
			else low = middle + 1;
		}
		return low;
	}
}

/** The image of a pagemap with the head and the fields of `like`, and these runs; adjacent ones of the same kind become one entry. */
export function encodePagemap({ head, counts64 }: Pagemap, runs: Iterable<PageRun>): Buffer {
	const records: Uint8Array[] = [head];
	let last: { address: number; bytes: number; flags: number } | undefined;
	const flush = () => {
		if (!last) return;
		const pages = last.bytes / PAGE;
		const { address: vaddr, flags } = last;
		const counts = counts64 ? { compat_nr_pages: 0, nr_pages: pages } : { compat_nr_pages: pages };
		records.push(images.PagemapEntry.encode({ vaddr, flags, ...counts }).finish());
		last = undefined;
	};
	for (const { address, bytes, flags, record } of runs) {
		const adjacent = last && last.address + last.bytes === address && last.flags === flags && !record;
		if (adjacent) {
			last!.bytes += bytes;
			continue;
		}
		flush();
		if (record) records.push(record);
		else last = { address, bytes, flags };
	}
	flush();
	return imageOf(PAGEMAP_MAGIC, records);
}

function decodeHead(record: Uint8Array, name: string): number {
	try {
		return images.PagemapHead.decode(record).pages_id;
	} catch (error) {
		throw new Error(`${name} has a head that is none`, { cause: error });
	}
}

function decodeEntry(record: Buffer, name: string): images.PagemapEntry {
	const reader = Reader.create(record);
	reader.discardUnknown = false;
	try {
		return images.PagemapEntry.decode(reader);
	} catch (error) {
		throw new Error(`${name} has an entry that is none`, { cause: error });
	}
}

function runOf(entry: images.PagemapEntry, record: Uint8Array, offset: number): PageRun {
	const pages = Number(entry.nr_pages ?? 0) || entry.compat_nr_pages;
	const run = { address: Number(entry.vaddr), bytes: pages * PAGE, flags: flagsOf(entry), offset };
	return entry.$unknowns || has(entry, 'blocks') ? { ...run, record } : run;
}

/** CRIU before 3.0 has no flags, only a field for pages that are in the parent. */
function flagsOf(entry: images.PagemapEntry): number {
	if (has(entry, 'flags')) return entry.flags!;
	return entry.in_parent ? PARENT : PRESENT;
}

/** Whether the message has the field; otherwise an entry has its default. */
function has(entry: images.PagemapEntry, field: keyof images.PagemapEntry): boolean {
	return Object.hasOwn(entry, field);
}

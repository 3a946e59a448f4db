/**
 * pagemap-PID.img: which pages of a task its pages image holds, and in which order. Translates addresses to offsets in that
 * image.
 */
import { PAGE } from '../libc/constants.js';
import { images } from '../proto/images.js';
import { recordsOf } from './records.js';

const PAGEMAP_MAGIC = 0x56084025;
/** Flag of an entry: the pages are in the pages image, rather than in a parent's or in none. */
const PE_PRESENT = 4;

/** Pages with successive addresses, which are contiguous in the pages image. */
interface Extent {
	start: number;
	end: number;
	/** Offset of the first byte in the pages image. */
	offset: number;
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
	/** Ascending by address, as the image is. */
	readonly #extents: Extent[] = [];
	/** N of pages-N.img. */
	readonly pagesId: number;

	/**
	 * @param image the content of the file `name`
	 * @throws where it is not a pagemap, or has compressed pages, whose offsets cannot be computed
	 */
	constructor(image: Buffer, name: string) {
		let pagesId: number | undefined;
		let offset = 0;
		for (const record of recordsOf(image, PAGEMAP_MAGIC, name)) {
			if (pagesId === undefined) {
				pagesId = images.PagemapHead.decode(record).pages_id;
				continue;
			}
			const entry = images.PagemapEntry.decode(record);
			if (!isPresent(entry)) continue;
			if (entry.blocks?.length) throw new Error(`${name} has compressed pages`);
			const start = Number(entry.vaddr);
			const bytes = (Number(entry.nr_pages) || entry.compat_nr_pages) * PAGE;
			if (start < (this.#extents.at(-1)?.end ?? 0)) throw new Error(`${name} is not in order of addresses`);
			this.#extents.push({ start, end: start + bytes, offset });
			offset += bytes;
		}
		if (pagesId === undefined) throw new Error(`${name} has no head`);
		this.pagesId = pagesId;
	}

	/** The parts of the pages image that hold `bytes` from `address` on; none where the image does not have these pages. */
	locate(address: number, bytes: number): ImageRange[] {
		const found: ImageRange[] = [];
		const end = address + bytes;
		for (let i = this.#firstEndingAfter(address); i < this.#extents.length; i++) {
			const extent = this.#extents[i]!;
			if (extent.start >= end) break;
			const from = Math.max(address, extent.start);
			const to = Math.min(end, extent.end);
			found.push({ offset: extent.offset + (from - extent.start), address: from, bytes: to - from });
		}
		return found;
	}

	/** Binary search: a task may have as many extents as pages. */
	#firstEndingAfter(address: number): number {
		let low = 0;
		let high = this.#extents.length;
		while (low < high) {
			const middle = (low + high) >> 1;
			if (this.#extents[middle]!.end > address) high = middle;
			else low = middle + 1;
		}
		return low;
	}
}

/** CRIU before 3.0 has no flags, only a field for pages that are in the parent. */
function isPresent({ flags, in_parent }: images.PagemapEntry): boolean {
	return flags == null ? !in_parent : (flags & PE_PRESENT) !== 0;
}

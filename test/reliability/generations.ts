/** Detects tears in an image of the memory of programs/generations.c. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

export const MEGABYTES = 64;
const PAGE = 4096;
const MAGIC = 0x67656e6572617465n;
const PAGES = (MEGABYTES << 20) / PAGE;

/** The error in the memory in `pages` (the content of pages-*.img), or undefined; and its newest generation. */
export function tear(pages: Buffer): { what: string | undefined; generation: number } {
	const stamps: number[][] = [];
	for (let at = 0; at + PAGE <= pages.length; at += PAGE) {
		if (pages.readBigUInt64LE(at) !== MAGIC) continue;
		const index = Number(pages.readBigUInt64LE(at + 8));
		stamps[index] = [Number(pages.readBigUInt64LE(at + 16)), Number(pages.readBigUInt64LE(at + PAGE - 8))];
	}
	const all = stamps.flat();
	assert.is(all.length, 2 * PAGES, 'every page of the memory is in the image');
	const [newest, oldest] = [all[0]!, all.at(-1)!];
	const isFalling = all.every((stamp, i) => i === 0 || stamp <= all[i - 1]!);
	const what =
		isFalling && newest - oldest <= 1
			? undefined
			: `generations ${Math.min(...all)} to ${Math.max(...all)} in one image${isFalling ? '' : ', out of order'}`;
	return { what, generation: Math.max(...all) };
}

/** All memory of the images in `directory`. */
export function pagesIn(directory: string): Buffer {
	const names = readdirSync(directory).filter((name) => /^pages-\d+\.img$/.test(name));
	return Buffer.concat(names.map((name) => readFileSync(join(directory, name))));
}

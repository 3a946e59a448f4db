/** The page size of the kernel, which on some architectures is chosen when the kernel is built. */
import { readFileSync } from 'node:fs';

/** The key of the page size in the auxiliary vector (getauxval), which has pairs of words: a key and its value. */
const AT_PAGESZ = 6n;

let cached: number | undefined;

/** In bytes. */
export function pageSize(): number {
	return (cached ??= readAuxv());
}

function readAuxv(): number {
	const entries = readFileSync('/proc/self/auxv');
	for (let at = 0; at + 16 <= entries.length; at += 16)
		if (entries.readBigUInt64LE(at) === AT_PAGESZ) return Number(entries.readBigUInt64LE(at + 8));
	throw new Error('the kernel does not tell the size of its pages');
}

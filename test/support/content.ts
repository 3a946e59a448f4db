/** Content of image files that differs at every offset, generated and checked as a stream. */
import { createHash, randomFillSync } from 'node:crypto';
import type { ReadEnd, WriteEnd } from './pipe.js';

const BLOCK = 1 << 20;
const PAGE = 4096;
/** Random, so that shifted, lost or swapped bytes are detected. */
const base = randomFillSync(Buffer.alloc(BLOCK));

/** `bytes` bytes that depend on `seed`. */
export function content(seed: number, bytes: number): Buffer {
	const result = Buffer.alloc(bytes);
	const start = (seed * 7919) % PAGE;
	for (let at = 0; at < bytes; at += BLOCK - start) base.copy(result, at, start);
	if (bytes >= 4) result.writeUInt32LE(seed, 0);
	return result;
}

/** Block `index` of a large file: the base, with its number on every page. */
function stamp(block: Buffer, index: number): Buffer {
	for (let at = 0; at < BLOCK; at += PAGE) block.writeUInt32LE(index, at);
	return block;
}

/** Writes `bytes` (a multiple of 1 MiB) and returns their SHA-256. */
export async function writeLarge(to: WriteEnd, bytes: number): Promise<string> {
	const block = Buffer.from(base);
	const hash = createHash('sha256');
	for (let i = 0; i < bytes / BLOCK; i++) {
		hash.update(stamp(block, i));
		await to.write(block);
	}
	to.close();
	return hash.digest('hex');
}

/** Reads to the end: the number of bytes, and their SHA-256. */
export async function readLarge(from: ReadEnd): Promise<{ bytes: number; sha256: string }> {
	const hash = createHash('sha256');
	let bytes = 0;
	for (let some: Buffer | undefined; (some = await from.take()); bytes += some.length) hash.update(some);
	from.close();
	return { bytes, sha256: hash.digest('hex') };
}

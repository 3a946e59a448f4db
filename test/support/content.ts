/** Content of image files that differs at every offset, generated and checked as a stream. */
import { randomFillSync } from 'node:crypto';
import type { WriteEnd } from './pipe.js';

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

/** Writes `bytes`, a number of whole blocks of 1 MiB, and closes. */
export async function writeLarge(to: WriteEnd, bytes: number): Promise<void> {
	const block = Buffer.from(base);
	for (let i = 0; i < bytes / BLOCK; i++) await to.write(stamp(block, i));
	to.close();
}

/** Throws unless `from` gives what {@link writeLarge} has written, byte by byte. Returns how many bytes there were. */
export async function checkLarge(from: AsyncIterable<Buffer>): Promise<number> {
	const block = Buffer.from(base);
	let bytes = 0;
	for await (const some of from) {
		for (let at = 0, length = 0; at < some.length; at += length, bytes += length) {
			const place = bytes % BLOCK;
			if (place === 0) stamp(block, bytes / BLOCK);
			length = Math.min(BLOCK - place, some.length - at);
			if (some.compare(block, place, place + length, at, at + length) !== 0)
				throw new Error(`other bytes than were written, from ${bytes} to ${bytes + length}`);
		}
	}
	return bytes;
}

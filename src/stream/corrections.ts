/**
 * Corrections: a file that a capture adds to an image of which pages have left by reference. The kernel changes a few words
 * of these pages while the application dies, and a reader may still hold references then; so it replaces these words by what
 * the file says. A reader that does not know the file stores it unread.
 */
import { corrections } from '../proto/images.js';
import { checkImageName } from './image-name.js';

/** Its name in the image: no other file may have it. */
export const CORRECTIONS = 'streamer-corrections.img';
/** Of the file: a word takes some 14 bytes, and a thread rarely has more than one. */
export const MAX_CORRECTIONS_BYTES = 16 << 20;
/** Of one range: what a pipe takes as a whole or not at all (PIPE_BUF). */
export const MAX_RANGE_BYTES = 4096;

/** Bytes that replace those of a file from `offset` on. */
export interface Correction {
	offset: number;
	bytes: Uint8Array;
}

/** By file name; ascending, without overlaps. */
export type Corrections = Map<string, Correction[]>;

/**
 * The content of the file, with the ranges of each file put in order; equal ones count once.
 * @throws where it would be larger than a reader takes
 */
export function encodeCorrections(all: Corrections): Uint8Array {
	const files = [...all].map(([name, ranges]) => ({ name, ranges: merged(ranges) }));
	const content = corrections.Corrections.encode({ files }).finish();
	if (content.length > MAX_CORRECTIONS_BYTES)
		throw new Error(
			`the threads have more words that change at their end than fit into ${MAX_CORRECTIONS_BYTES} bytes`,
		);
	return content;
}

/**
 * Reads the content of the file.
 * @throws where a name leads out of the image, or ranges are too large, overlap or are not in order
 */
export function decodeCorrections(content: Uint8Array): Corrections {
	const result: Corrections = new Map();
	for (const file of decoded(content).files) {
		const name = checkImageName(file.name ?? '', CORRECTIONS);
		if (result.has(name)) throw damaged(`names ${name} twice`);
		let end = 0;
		const checked = (file.ranges ?? []).map((range) => {
			const correction = { offset: Number(range.offset ?? 0), bytes: range.bytes ?? new Uint8Array(0) };
			checkRange(correction, end, name);
			end = correction.offset + correction.bytes.length;
			return correction;
		});
		result.set(name, checked);
	}
	return result;
}

/** @param end of the range before it */
function checkRange({ offset, bytes }: Correction, end: number, name: string): void {
	if (!Number.isSafeInteger(offset + bytes.length)) throw damaged(`has an offset of ${offset}`);
	if (offset < end) throw damaged(`has ranges of ${name} that overlap, or are not in order`);
	if (bytes.length < 1 || bytes.length > MAX_RANGE_BYTES)
		throw damaged(`has a range of ${bytes.length} bytes`);
}

function decoded(content: Uint8Array): corrections.Corrections {
	try {
		return corrections.Corrections.decode(content);
	} catch (cause) {
		throw new Error(`${CORRECTIONS} cannot be decoded: the stream is damaged`, { cause });
	}
}

function damaged(what: string): Error {
	return new Error(`${CORRECTIONS} ${what}: the stream is damaged`);
}

/** In order; a byte that two ranges have is in the first of them. */
function merged(ranges: readonly Correction[]): Correction[] {
	const result: Correction[] = [];
	let end = 0;
	for (const { offset, bytes } of [...ranges].sort((a, b) => a.offset - b.offset)) {
		const known = Math.max(0, end - offset);
		if (known >= bytes.length) continue;
		result.push({ offset: offset + known, bytes: bytes.subarray(known) });
		end = offset + bytes.length;
	}
	return result;
}

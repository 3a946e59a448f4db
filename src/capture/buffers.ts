/**
 * Memory for what is read from CRIU. Each buffer has one owner, from {@link takeBuffer} until it is given back; one that is
 * not, after an error, is left to the garbage collector.
 */
import { SMALL } from '../stream/shard-writer.js';

/** Buffers that are kept for later (2 MiB): all files together fill and send about as many at a time. */
const MAX_SPARE = 32;

const spare: Buffer[] = [];

/** A buffer of {@link SMALL} bytes, which the caller owns. */
export function takeBuffer(): Buffer {
	return spare.pop() ?? Buffer.allocUnsafeSlow(SMALL);
}

/** Gives back `buffer`, which came from {@link takeBuffer}: the caller uses it no more. */
export function giveBack(buffer: Buffer): void {
	if (spare.length < MAX_SPARE) spare.push(buffer);
}

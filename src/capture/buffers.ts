/**
 * Memory for what is read from CRIU. Each buffer has one owner, from {@link takeBuffer} until it is given back; one that is
 * not, after an error, is left to the garbage collector.
 */
import { SMALL } from '../stream/shard-writer.js';

/** As many as are filled and sent at a time, over all files that are being read; 2 MiB. */
const MAX_SPARE = 32;

const spare: Buffer[] = [];

/** A buffer of {@link SMALL} bytes, which the caller owns. */
export function takeBuffer(): Buffer {
	return spare.pop() ?? Buffer.allocUnsafeSlow(SMALL);
}

/** Nobody uses `buffer`, which came from {@link takeBuffer}, any more. */
export function giveBack(buffer: Buffer): void {
	if (spare.length < MAX_SPARE) spare.push(buffer);
}

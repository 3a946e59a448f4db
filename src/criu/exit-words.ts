/**
 * The words that the kernel changes in the memory of a dying thread.
 *
 * When a thread ends while others share its memory, the kernel stores 0 at its clear_child_tid address; and it sets
 * FUTEX_OWNER_DIED in each futex on the thread's robust list (mm_release and exit_robust_list in the kernel). These are the
 * only writes into the pages of an application that is killed while it is stopped, except for the list that a 64-bit thread
 * may have set by a 32-bit call: CRIU does not save it, and no other process can read its address.
 */
import { readSync } from 'node:fs';
import type { ThreadEnd } from '../images/core.js';

/** Bytes of a futex, and of the word at clear_child_tid. */
export const WORD = 4;
/** The kernel reads no more entries of a list (ROBUST_LIST_LIMIT). */
const MAX_ENTRIES = 2048;
/** The lowest bit of a pointer in the list says that the futex inherits priority. */
const POINTER_BIT = 1n;

/**
 * The addresses of the words that may change when a thread ends.
 * @param memory an open /proc/PID/mem of the stopped thread's process
 */
export function exitWordsOf(memory: number, { clearTid, robustList, robustHeadBytes }: ThreadEnd): number[] {
	const words = robustList ? robustWords(memory, robustList, robustHeadBytes) : [];
	return clearTid ? [clearTid, ...words] : words;
}

/** Walks a robust list as the kernel does, up to the first entry that cannot be read. */
function robustWords(memory: number, head: number, headBytes: number): number[] {
	const size = headBytes / 3;
	if (size !== 8 && size !== 4) throw new Error(`a robust list has a head of ${headBytes} bytes`);
	const pointer = (address: bigint) => readPointer(memory, address, size);
	const start = BigInt(head);
	const first = pointer(start);
	const offset = pointer(start + BigInt(size));
	const pending = pointer(start + BigInt(2 * size));
	if (first === undefined || offset === undefined || pending === undefined) return [];
	const word = (entry: bigint) => Number(BigInt.asUintN(size * 8, (entry & ~POINTER_BIT) + offset));
	const words: number[] = [];
	let entry: bigint | undefined = first;
	for (let i = 0; i < MAX_ENTRIES && entry !== undefined && (entry & ~POINTER_BIT) !== start; i++) {
		words.push(word(entry));
		entry = pointer(entry & ~POINTER_BIT);
	}
	if (pending & ~POINTER_BIT) words.push(word(pending));
	return words;
}

function readPointer(memory: number, address: bigint, size: number): bigint | undefined {
	const bytes = readMemory(memory, address, size);
	if (!bytes) return undefined;
	return size === 8 ? bytes.readBigUInt64LE() : BigInt(bytes.readUInt32LE());
}

/** `bytes` of the memory from `address` on; undefined where nothing is mapped. */
export function readMemory(memory: number, address: bigint, bytes: number): Buffer | undefined {
	const result = Buffer.alloc(bytes);
	try {
		return readSync(memory, result, 0, bytes, address) === bytes ? result : undefined;
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		// An address beyond the process's memory, or beyond what a file offset can be.
		if (code === 'EIO' || code === 'EFAULT' || code === 'EINVAL' || code === 'ERR_OUT_OF_RANGE')
			return undefined;
		throw error;
	}
}

/**
 * The place where CRIU injects code into a process that it dumps.
 *
 * To run a system call in the process CRIU overwrites the beginning of its first executable mapping, runs the code, and
 * restores the original bytes. It does so once more after it has written the pages of the process: a copy of the page at
 * that moment has the injected code. While the pages are being written, the original bytes are in place.
 */
import { readFileSync } from 'node:fs';
import { poller } from '../libc/poller.js';
import { readMemory } from './exit-words.js';

/** The number of bytes that CRIU overwrites: a system call instruction and a trap, in whole words. */
const INJECTED_BYTES = 8;
/** The injected code of each architecture: the call of 64-bit and that of 32-bit processes. */
const INJECTED: Partial<Record<NodeJS.Architecture, string[]>> = {
	x64: ['0f05cccccccccccc', 'cd80cccccccccccc'],
	arm64: ['010000d4000020d4'],
};
/** Injected code is in place for one system call; bytes that still look like it after 40 ms are the process's own. */
const RETRY_MICROS = 200;
const MAX_RETRIES = 200;

/** Bytes of a process's memory, from `address` on. */
export interface MemoryRange {
	address: number;
	bytes: Buffer;
}

/**
 * The original bytes at the place in process `pid` where CRIU injects code; undefined where there is no such place.
 * @param memory an open /proc/PID/mem of the process, which is stopped
 * @throws on an architecture whose injected code is not known
 */
export async function overwrittenCode(pid: number, memory: number): Promise<MemoryRange | undefined> {
	const injected = INJECTED[process.arch];
	if (!injected) throw new Error(`what CRIU injects on ${process.arch} is not known`);
	const maps = readFileSync(`/proc/${pid}/maps`, 'latin1');
	const start = /^([0-9a-f]+)-[0-9a-f]+ ..x. /m.exec(maps)?.[1];
	if (start === undefined) return undefined;
	const address = Number.parseInt(start, 16);
	for (let i = 0; ; i++) {
		const bytes = readMemory(memory, BigInt(address), INJECTED_BYTES);
		if (!bytes) return undefined;
		if (i === MAX_RETRIES || !injected.includes(bytes.toString('hex'))) return { address, bytes };
		await poller.pause(RETRY_MICROS);
	}
}

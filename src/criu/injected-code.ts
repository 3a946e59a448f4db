/**
 * The place where CRIU injects code into a process that it dumps.
 *
 * To run a system call in the process CRIU overwrites the beginning of its first executable mapping, lets it run, and puts
 * back what was there. It does so once more when the pages of the process have been written: whoever copies the page at that
 * moment gets the injected code. While the pages are being written, the place holds what belongs there.
 */
import { readFileSync } from 'node:fs';
import { poller } from '../libc/poller.js';
import { readMemory } from './exit-words.js';

/** What CRIU overwrites: an instruction for a system call and a trap, in whole words. */
const INJECTED_BYTES = 8;
/** The injected code of each architecture: a call of 64-bit, and of 32-bit processes. */
const INJECTED: Partial<Record<NodeJS.Architecture, string[]>> = {
	x64: ['0f05cccccccccccc', 'cd80cccccccccccc'],
	arm64: ['010000d4000020d4'],
};
/** Injected code is there for the time of one system call; after 40 ms it is the process's own. */
const RETRY_MICROS = 200;
const MAX_RETRIES = 200;

/** Bytes of a process, from `address` on. */
export interface MemoryRange {
	address: number;
	bytes: Buffer;
}

/**
 * What belongs to the place in process `pid` where CRIU injects code; undefined where there is no such place.
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

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
/** Injected code is there for the time of one system call. */
const RETRY_MICROS = 200;
const MAX_RETRIES = 1000;

/** Bytes of a process, from `address` on. */
export interface MemoryRange {
	address: number;
	bytes: Buffer;
}

/**
 * What belongs to the places in process `pid` where CRIU may inject code: the beginning of each executable mapping.
 * @param memory an open /proc/PID/mem of the process, which is stopped
 * @throws on an architecture whose injected code is not known
 */
export async function overwrittenCode(pid: number, memory: number): Promise<MemoryRange[]> {
	const injected = INJECTED[process.arch];
	if (!injected) throw new Error(`what CRIU injects on ${process.arch} is not known`);
	const found: MemoryRange[] = [];
	for (const address of executableStarts(readFileSync(`/proc/${pid}/maps`, 'latin1'))) {
		for (let i = 0; ; i++) {
			const bytes = readMemory(memory, BigInt(address), INJECTED_BYTES);
			if (!bytes) break;
			if (!injected.includes(bytes.toString('hex'))) {
				found.push({ address, bytes });
				break;
			}
			if (i === MAX_RETRIES) throw new Error(`process ${pid} keeps the code that CRIU has injected`);
			await poller.pause(RETRY_MICROS);
		}
	}
	return found;
}

/** Of /proc/PID/maps. The kernel's own mapping, [vsyscall], is above what a process can have. */
function executableStarts(maps: string): number[] {
	return [...maps.matchAll(/^([0-9a-f]+)-[0-9a-f]+ ..x. /gm)]
		.map(([, start]) => Number.parseInt(start!, 16))
		.filter((start) => Number.isSafeInteger(start));
}

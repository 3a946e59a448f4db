/** Detection of descriptors that are left open. */
import { readdirSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { poller } from '../../src/libc/poller.js';

/** More pauses at a time than any test makes: the poll set keeps a timer for each. */
const MAX_TIMERS = 32;

/** tsx writes what it has compiled into a cache, in the background. */
const CACHE = join(tmpdir(), 'tsx-');

/** The number of open descriptors of this process, without those of the loader that compiles the tests. */
export function openDescriptors(): number {
	return readdirSync('/proc/self/fd').filter((fd) => !targetOf(fd).startsWith(CACHE)).length;
}

/** Empty for a descriptor that is closed meanwhile, as that of the directory is. */
function targetOf(fd: string): string {
	try {
		return readlinkSync(`/proc/self/fd/${fd}`);
	} catch {
		return '';
	}
}

/** The number of open descriptors, after those have been created that are kept for the life of the process. */
export async function descriptorsAtFirst(): Promise<number> {
	await Promise.all(Array.from({ length: MAX_TIMERS }, () => poller.pause(1)));
	return openDescriptors();
}

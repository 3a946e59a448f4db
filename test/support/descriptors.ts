/** Detection of descriptors that are left open. */
import { readdirSync } from 'node:fs';
import { poller } from '../../src/libc/poller.js';

/** More pauses at a time than any test makes: the poll set keeps a timer for each. */
const MAX_TIMERS = 32;

export function openDescriptors(): number {
	return readdirSync('/proc/self/fd').length;
}

/** The number of open descriptors, after those have been created that are kept for the life of the process. */
export async function descriptorsAtFirst(): Promise<number> {
	await Promise.all(Array.from({ length: MAX_TIMERS }, () => poller.pause(1)));
	return openDescriptors();
}

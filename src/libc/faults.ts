/**
 * Calls that fail on purpose, for tests: what the kernel does once in a million calls must not be met for the first time
 * in front of somebody's process.
 */
import { constants } from 'node:os';

interface Fault {
	call: string;
	/** -errno, or undefined: the call moves one byte only (or half of what it was asked, for splice). */
	result: number | undefined;
	/** Of the calls, which fail: every `every`-th, or with `once` the `every`-th alone. */
	every: number;
	once: boolean;
	seen: number;
}

/** Where in its arguments a call carries the number of bytes that it may move. */
const SIZE_ARGUMENT: Record<string, number> = { read: 2, write: 2, pread: 2, pwrite: 2, splice: 4 };

/**
 * Reads `call:ERRNO:n` (every n-th call fails so), `call:ERRNO:=n` (the n-th alone) and `call:short:n` (moves less than
 * asked), separated by commas: `splice:EAGAIN:3,read:EINTR:2,pipe2:EMFILE:=40`.
 */
export function faultsFrom(text: string) {
	const faults = text.split(',').map((part): Fault => {
		const [call = '', kind = '', count = ''] = part.split(':');
		const errno = (constants.errno as Record<string, number>)[kind];
		const every = Number(count.replace('=', ''));
		if (!call || !(errno || kind === 'short') || !(every > 0))
			throw new Error(`CRIU_STREAMER_FAULTS: bad part ${part}`);
		return { call, result: errno && -errno, every, once: count.startsWith('='), seen: 0 };
	});
	const due = (fault: Fault) => {
		fault.seen++;
		return fault.once ? fault.seen === fault.every : fault.seen % fault.every === 0;
	};
	return {
		wrap<A extends unknown[]>(name: string, call: (...args: A) => number): (...args: A) => number {
			const mine = faults.filter((fault) => fault.call === name);
			if (!mine.length) return call;
			return (...args: A) => {
				for (const fault of mine) {
					if (!due(fault)) continue;
					if (fault.result !== undefined) return fault.result;
					const at = SIZE_ARGUMENT[name];
					if (at === undefined) throw new Error(`CRIU_STREAMER_FAULTS: ${name} moves no bytes`);
					const less = [...args];
					less[at] = Math.max(1, Math.floor((args[at] as number) / 2));
					return call(...(less as A));
				}
				return call(...args);
			};
		},
	};
}

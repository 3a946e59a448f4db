/**
 * Fault injection for tests: a result that the kernel returns once in a million calls must not occur for the first time
 * while an application is frozen.
 */
import { constants } from 'node:os';

interface Fault {
	call: string;
	/** -errno, or undefined: the call moves half of the bytes that it was asked for, but at least one. */
	result: number | undefined;
	/** Which of the calls fail: every `every`-th, or with `once` only the `every`-th. */
	every: number;
	once: boolean;
	seen: number;
}

/** The position, among the arguments of a call, of the number of bytes that it may move. */
const SIZE_ARGUMENT: Record<string, number> = { read: 2, write: 2, pread: 2, pwrite: 2, splice: 4 };

/**
 * Reads `call:ERRNO:n` (every n-th call fails with ERRNO), `call:ERRNO:=n` (only the n-th) and `call:short:n` (every n-th
 * moves fewer bytes than asked), separated by commas: `splice:EAGAIN:3,read:EINTR:2,pipe2:EMFILE:=40`.
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
			const matching = faults.filter((fault) => fault.call === name);
			if (!matching.length) return call;
			return (...args: A) => {
				for (const fault of matching) {
					if (!due(fault)) continue;
					if (fault.result !== undefined) return fault.result;
					const at = SIZE_ARGUMENT[name];
					if (at === undefined) throw new Error(`CRIU_STREAMER_FAULTS: ${name} moves no bytes`);
					const fewer = [...args];
					fewer[at] = Math.max(1, Math.floor((args[at] as number) / 2));
					return call(...(fewer as A));
				}
				return call(...args);
			};
		},
	};
}

/**
 * The last bytes of a stream may still be in a pipe when everything is written, and are lost if its reader dies: in that
 * case CRIU must not end the application. So a shard counts as written once the other side has taken all of it.
 */
import { ioctl } from '../libc/calls.js';
import { SIOCOUTQ } from '../libc/constants.js';
import { bytesWaiting } from '../libc/pipes.js';
import { EPOLLERR, EPOLLOUT, poller } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import { StallDetector } from '../runtime/stall.js';
import { StreamError } from '../runtime/stream-error.js';
import type { Shard } from './shard.js';

/** The kernel has no event for an empty pipe: it is looked at often at first, then every 5 ms. */
const FIRST_MICROS = 100;
const LONGEST_MICROS = 5000;

const outgoing = new Int32Array(new ArrayBuffer(4));

/** Bytes that were written to `fd` and that its reader has not taken (or, over TCP, acknowledged) yet. */
export function unsent(fd: number, kind: 'pipe' | 'socket'): number {
	if (kind === 'pipe') return bytesWaiting(fd);
	return ioctl(fd, SIOCOUTQ, outgoing) < 0 ? 0 : outgoing[0]!;
}

/**
 * Resolves when nothing is left in the pipe or socket of `shard`. Rejects when the other side ended before that, or stood
 * still for the shard's stallMillis, and with the reason of `signal`.
 */
export async function drained(shard: Shard, kind: 'pipe' | 'socket', signal: AbortSignal): Promise<void> {
	const { fd, name, stallMillis } = shard;
	const stall = new StallDetector(stallMillis);
	for (let micros = FIRST_MICROS; ; micros = Math.min(2 * micros, LONGEST_MICROS)) {
		// The end of the reader is checked first: what it has left in the pipe is lost.
		const gone = ((await waitFor(fd, EPOLLOUT, { signal })) & EPOLLERR) !== 0;
		const left = unsent(fd, kind);
		// A socket whose peer has ended early drops what was under way.
		if (gone && kind === 'socket') throw new Error(`the reader of ${name} ended before it had read all`);
		if (left === 0) return;
		if (gone)
			throw new Error(`the reader of ${name} ended without the last ${left} bytes: look there for why`);
		stall.observe(left);
		if (stall.stalled) throw stalled(shard);
		await poller.pause(micros);
	}
}

/** The error for a reader that takes nothing for longer than it may. */
export function stalled({ name, stallMillis }: Shard): Error {
	return new StreamError(
		'STALLED',
		`the reader of ${name} has taken nothing for ${stallMillis / 1000} s: look whether it still runs`,
	);
}

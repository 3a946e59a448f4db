/**
 * Shards that are descriptors of the user's: --shard-fds, or stdout and stdin. Each may be a pipe, a stream socket or a
 * regular file. Nobody at the far end can answer, so a stream counts as received once the other side has taken
 * it out of the kernel.
 */
import { fsync, openSync, type Stats } from 'node:fs';
import { promisify } from 'node:util';
import { shutdown } from '../libc/calls.js';
import { O_RDWR, SHUT_WR } from '../libc/constants.js';
import { restoreFlags, setNonBlocking } from '../libc/pipes.js';
import { poller } from '../libc/poller.js';
import { onSuddenExit } from '../runtime/cleanup.js';
import { drained } from '../stream/drained.js';
import type { Incoming, Outgoing, Shard } from '../stream/shard.js';

/** A descriptor that can carry a stream (options/shard-fds.ts). */
export interface ShardFd extends Shard {
	stat: Stats;
	/** Before this process changes them. */
	flags: number;
}

interface Opened {
	shard: Shard;
	stat: Stats;
	flags: number;
	/** Takes back that the flags are restored when the process ends suddenly. */
	forget(): void;
}

/** Where a capture writes. */
export function writeToFds(fds: readonly ShardFd[]): Outgoing {
	const opened = openAll(fds);
	const closing = new AbortController();
	// Each ends as soon as it is empty: a reader may wait for the end of one before it reads another.
	const finish = async (one: Opened) => {
		const { shard, stat } = one;
		if (stat.isFIFO() || stat.isSocket()) {
			await drained(shard, stat.isFIFO() ? 'pipe' : 'socket', closing.signal);
		}
		if (stat.isFile()) await sync(shard);
		if (stat.isSocket()) shutdown(shard.fd, SHUT_WR);
		closeAll(opened.splice(opened.indexOf(one), 1));
	};
	return {
		shards: opened.map(({ shard }) => shard),
		async received() {
			await Promise.all(opened.map(finish));
			return { silent: true };
		},
		async close() {
			closing.abort(new Error('the shards were closed'));
			closeAll(opened);
		},
	};
}

/** Where an extract or a serve reads. */
export function readFromFds(fds: readonly ShardFd[]): Incoming {
	const opened = openAll(fds);
	const close = async () => closeAll(opened);
	return { shards: opened.map(({ shard }) => shard), acknowledge: close, close };
}

function openAll(fds: readonly ShardFd[]): Opened[] {
	return fds.map(({ fd, name, stallMillis, stat, flags }) => {
		const shard = { fd, name, stallMillis };
		if (stat.isFile()) return { shard, stat, flags, forget() {} };
		setNonBlocking(fd);
		// The terminal's shell, or the filter before this process, may use the same pipe, and expect it to wait.
		const forget = onSuddenExit(() => restoreFlags(fd, flags));
		return { shard, stat, flags, forget };
	});
}

async function sync(shard: Shard): Promise<void> {
	try {
		await promisify(fsync)(shard.fd);
	} catch (cause) {
		throw new Error(`${shard.name}: the image may not be on the disk`, { cause });
	}
}

function closeAll(opened: Opened[]): void {
	for (const { shard, flags, stat, forget } of opened.splice(0)) {
		forget();
		if (!stat.isFile()) restoreFlags(shard.fd, flags);
		poller.close(shard.fd);
		// The next file to be opened would get this number, and be what Node takes for stdout.
		if (shard.fd <= 2) openSync('/dev/null', O_RDWR);
	}
}

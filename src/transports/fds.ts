/**
 * Shards that are descriptors given by the user: --shard-fds, or stdout and stdin. Each may be a pipe, a stream socket or a
 * regular file. The other side cannot answer, so a stream counts as received once the other side has read it from the
 * kernel.
 */
import { fsync, openSync, type Stats, statfsSync } from 'node:fs';
import { promisify } from 'node:util';
import { shutdown } from '../libc/calls.js';
import { O_RDWR, SHUT_WR } from '../libc/constants.js';
import { restoreFlags, setNonBlocking } from '../libc/pipes.js';
import { poller } from '../libc/poller.js';
import { onSuddenExit } from '../runtime/cleanup.js';
import { drained } from '../stream/drained.js';
import type { Incoming, Outgoing, Shard } from '../stream/shard.js';

/** FUSE_SUPER_MAGIC of statfs(2). */
const FUSE_MAGIC = 0x65735546;

/** A descriptor that can carry a stream (options/shard-fds.ts). */
export interface ShardFd extends Shard {
	stat: Stats;
	/** The status flags before this process changes them. */
	flags: number;
}

interface Opened {
	shard: Shard;
	stat: Stats;
	flags: number;
	/** Removes the callback that restores the flags when the process ends suddenly. */
	unregister(): void;
}

/** The shards of a capture. */
export function writeToFds(fds: readonly ShardFd[]): Outgoing {
	const opened = openAll(fds);
	const closing = new AbortController();
	// Each is closed as soon as it is empty: a reader may wait for the end of one before it reads another.
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
		copies: opened.every(copies),
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

/**
 * A file has a copy as soon as it is written to, except that a program behind a FUSE file system may pass references on. So may the
 * reader of a pipe or a socket.
 */
function copies({ shard, stat }: Opened): boolean {
	return stat.isFile() && statfsSync(`/proc/self/fd/${shard.fd}`).type !== FUSE_MAGIC;
}

/** The shards of an extract or a serve. */
export function readFromFds(fds: readonly ShardFd[]): Incoming {
	const opened = openAll(fds);
	const close = async () => closeAll(opened);
	return { shards: opened.map(({ shard }) => shard), acknowledge: close, close };
}

function openAll(fds: readonly ShardFd[]): Opened[] {
	return fds.map(({ fd, name, stallMillis, stat, flags }) => {
		const shard = { fd, name, stallMillis };
		if (stat.isFile()) return { shard, stat, flags, unregister() {} };
		setNonBlocking(fd);
		// The shell, or a process before this one in the pipeline, may use the same pipe, and expect blocking calls.
		const unregister = onSuddenExit(() => restoreFlags(fd, flags));
		return { shard, stat, flags, unregister };
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
	for (const { shard, flags, stat, unregister } of opened.splice(0)) {
		unregister();
		if (!stat.isFile()) restoreFlags(shard.fd, flags);
		poller.close(shard.fd);
		// The next file opened would get this number, and Node would use it as stdin, stdout or stderr.
		if (shard.fd <= 2) openSync('/dev/null', O_RDWR);
	}
}

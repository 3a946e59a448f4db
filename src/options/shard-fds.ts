/**
 * Shards that are descriptors given by the user. A descriptor passed by mistake (a terminal, a directory, the wrong end of a
 * pipe, a number that Node uses itself) is detected before the stream begins.
 */
import { fstatSync, readdirSync, readlinkSync, type Stats } from 'node:fs';
import { isatty } from 'node:tty';
import { fcntl } from '../libc/calls.js';
import { F_GETFL, O_ACCMODE, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_WRONLY } from '../libc/constants.js';
import { UsageError } from '../runtime/errors.js';
import type { ShardFd } from '../transports/fds.js';
import { checkStreamSocket } from './descriptors.js';
import type { Options } from './resolve.js';

type Direction = 'write' | 'read';

/**
 * The default stall timeout of a socket: after this time without progress its other side is taken for dead. A pipe has none,
 * since its other side may pause for good reasons.
 */
const SOCKET_STALL_MILLIS = 60_000;
/** The device number of /dev/null. */
const DEV_NULL = 0x103;
/** A correct command line, for errors about a terminal or a closed descriptor. */
const EXAMPLE = {
	write: 'criu-image-streamer capture … | ssh host criu-image-streamer extract',
	read: 'ssh host criu-image-streamer capture … | criu-image-streamer extract',
};

/**
 * The descriptors that carry the stream of the command. Throws {@link UsageError} about one that cannot. With `embedded`
 * this process may hold the other end of a pipe as well.
 */
export function checkShardFds(options: Options, embedded = false): ShardFd[] {
	const direction = options.command === 'capture' ? 'write' : 'read';
	const fds = options.shardFds ?? [direction === 'write' ? 1 : 0];
	const shards = fds.map((fd): ShardFd => {
		const name = options.shardFds ? `shard fd ${fd}` : direction === 'write' ? 'stdout' : 'stdin';
		const { stat, flags } = check(fd, name, direction);
		if (stat.isFIFO() && !embedded) refuseOwnPipe(fd, name, direction, flags);
		const stallMillis = options.stallTimeout ?? (stat.isSocket() ? SOCKET_STALL_MILLIS : 0);
		return { fd, name, stallMillis, stat, flags };
	});
	refuseSame(shards);
	if (direction === 'write' && options.progressFd !== undefined) refuseProgress(shards, options.progressFd);
	return shards;
}

/** Returns the type and flags of `fd`. Throws the reason why it cannot carry a stream. */
function check(fd: number, name: string, direction: Direction): { stat: Stats; flags: number } {
	const refuse = (why: string) => new UsageError(`${name} ${why}`);
	let stat: Stats;
	try {
		stat = fstatSync(fd);
	} catch {
		throw refuse(`is not open: it has to be a pipe, a stream socket or a file, as in ${EXAMPLE[direction]}`);
	}
	if (isatty(fd)) {
		throw refuse(`is a terminal, and an image is no text: use a pipe or a file, as in ${EXAMPLE[direction]}`);
	}
	// Node opens /dev/null in place of a stdin or stdout that was closed.
	if (stat.rdev === DEV_NULL && fd <= 2) {
		throw refuse(`is closed, or /dev/null: it has to be a pipe or a file, as in ${EXAMPLE[direction]}`);
	}
	const through = direction === 'write' ? '| cat >' : 'cat … |';
	if (stat.isDirectory()) throw refuse('is a directory; it has to be a pipe, a stream socket or a file');
	if (stat.isCharacterDevice() || stat.isBlockDevice())
		throw refuse(`is a device, which cannot be waited for: put a pipe before it (${through})`);
	const flags = fcntl(fd, F_GETFL, 0);
	const mode = flags & O_ACCMODE;
	const unfit = direction === 'write' ? O_RDONLY : O_WRONLY;
	// Descriptors that Node and this program open for themselves (epoll, eventfd, timers) have no file type.
	if (!stat.isFIFO() && !stat.isSocket() && !stat.isFile())
		throw refuse('is not open: no pipe, socket or file was handed over as this number');
	if (flags & O_PATH || mode === unfit) {
		const other = direction === 'write' ? 'reading' : 'writing';
		throw refuse(
			`is open for ${other} only: ${direction === 'write' ? `${fd}>` : `${fd}<`} opens it rightly`,
		);
	}
	if (stat.isSocket()) checkStreamSocket(fd, refuse);
	return { stat, flags };
}

/**
 * Refuses a pipe of which this process holds both ends: Node's own (under a number that the user did not open), or one whose
 * reader would wait for itself at the end.
 */
function refuseOwnPipe(fd: number, name: string, direction: Direction, flags: number): void {
	if ((flags & O_ACCMODE) === O_RDWR || (direction === 'write' && !(flags & O_NONBLOCK))) return;
	const link = (each: string | number) => {
		try {
			return readlinkSync(`/proc/self/fd/${each}`);
		} catch {
			return undefined;
		}
	};
	const pipe = link(fd);
	const mode = direction === 'write' ? O_RDONLY : O_WRONLY;
	const other = pipe?.startsWith('pipe:')
		? readdirSync('/proc/self/fd').find(
				(each) => link(each) === pipe && (fcntl(Number(each), F_GETFL, 0) & O_ACCMODE) === mode,
			)
		: undefined;
	if (other === undefined) return;
	throw new UsageError(
		`${name} is one end of a pipe whose other end is fd ${other} of this process too: ` +
			'hand over only the end that it uses',
	);
}

/** Refuses two shards with the same file: their bytes would be mixed. */
function refuseSame(all: readonly { name: string; stat: Stats }[]): void {
	const seen = new Map<string, string>();
	for (const { name, stat } of all) {
		const key = identity(stat);
		const other = seen.get(key);
		if (other) throw new UsageError(`${other} and ${name} are the same thing; each shard needs its own`);
		seen.set(key, name);
	}
}

/** Refuses progress on a shard: lines in the middle of an image would corrupt it. */
function refuseProgress(all: readonly { name: string; stat: Stats }[], progressFd: number): void {
	let progress: string;
	try {
		progress = identity(fstatSync(progressFd));
	} catch {
		return;
	}
	const mixed = all.find(({ stat }) => identity(stat) === progress);
	if (!mixed) return;
	throw new UsageError(
		`fd ${progressFd}, where progress goes, leads into ${mixed.name}, where the image goes: ` +
			'lead it elsewhere (2>…), or choose another --progress-fd',
	);
}

function identity({ dev, ino }: Stats): string {
	return `${dev}:${ino}`;
}

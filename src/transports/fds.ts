/**
 * Shards that are descriptors of the user's: --shard-fds, or stdout and stdin. Each may be a pipe, a stream socket or a
 * regular file. Nobody at the far end can answer, so a stream counts as received once the other side has taken
 * it out of the kernel.
 */
import { fstatSync, fsync, openSync, readdirSync, readlinkSync, type Stats } from 'node:fs';
import { isatty } from 'node:tty';
import { promisify } from 'node:util';
import type { Options } from '../cli/options.js';
import { buffer, fcntl, getsockopt, shutdown } from '../libc/calls.js';
import {
	F_GETFL,
	O_ACCMODE,
	O_NONBLOCK,
	O_RDONLY,
	O_RDWR,
	O_WRONLY,
	SHUT_WR,
	SO_ACCEPTCONN,
	SO_TYPE,
	SOCK_STREAM,
	SOL_SOCKET,
} from '../libc/constants.js';
import { restoreFlags, setNonBlocking } from '../libc/pipes.js';
import { poller } from '../libc/poller.js';
import { UsageError } from '../run/errors.js';
import { atSuddenEnd } from '../run/leftovers.js';
import { drained } from '../shards/drained.js';
import type { Incoming, Outgoing, Shard } from '../shards/shard.js';

type Direction = 'write' | 'read';

/** Of open(2)'s flags: a descriptor that only names a file. */
const O_PATH = 0o10000000;
/** The device number of /dev/null. */
const DEV_NULL = 0x103;
/** A pipe, a socket or a file is needed where a terminal or nothing was given; this is how it is meant. */
const EXAMPLE = {
	write: 'criu-image-streamer capture … | ssh host criu-image-streamer extract',
	read: 'ssh host criu-image-streamer capture … | criu-image-streamer extract',
};

interface Opened {
	shard: Shard;
	stat: Stats;
	/** Before this process changed them. */
	flags: number;
	/** Takes back that the flags are restored when the process ends suddenly. */
	forget(): void;
}

/** Where a capture writes. Throws {@link UsageError} about a descriptor that cannot carry a stream. */
export function writeToFds(options: Options): Outgoing {
	const opened = openAll(options, 'write');
	let closed = false;
	const check = () => {
		if (closed) throw new Error('the shards were closed');
	};
	// Each ends as soon as it is empty: a reader may wait for the end of one before it reads another.
	const finish = async (one: Opened) => {
		const { shard, stat } = one;
		if (stat.isFIFO() || stat.isSocket()) {
			await drained(shard, stat.isFIFO() ? 'pipe' : 'socket', check);
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
			closed = true;
			for (const { shard } of opened) poller.interrupt(shard.fd);
			closeAll(opened);
		},
	};
}

/** Where an extract or a serve reads. Throws {@link UsageError} about a descriptor that cannot carry a stream. */
export function readFromFds(options: Options): Incoming {
	const opened = openAll(options, 'read');
	const close = async () => closeAll(opened);
	return { shards: opened.map(({ shard }) => shard), acknowledge: close, close };
}

function openAll(options: Options, direction: Direction): Opened[] {
	const fds = options.shardFds ?? [direction === 'write' ? 1 : 0];
	const checked = fds.map((fd) => {
		const name = options.shardFds ? `shard fd ${fd}` : direction === 'write' ? 'stdout' : 'stdin';
		return { fd, name, ...check(fd, name, direction) };
	});
	refuseSame(checked);
	if (direction === 'write') refuseProgress(checked, options.progressFd);
	return checked.map(({ fd, name, stat, flags }) => {
		const stallMillis = options.stallTimeout ?? (stat.isSocket() ? 60_000 : 0);
		if (stat.isFile()) return { shard: { fd, name, stallMillis }, stat, flags, forget() {} };
		setNonBlocking(fd);
		// The terminal's shell, or the filter before this process, may use the same pipe, and expect it to wait.
		const forget = atSuddenEnd(() => restoreFlags(fd, flags));
		return { shard: { fd, name, stallMillis }, stat, flags, forget };
	});
}

/** What `fd` is, or why it cannot carry a stream. */
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
	// Node opens it in place of a stdin or stdout that was closed.
	if (stat.rdev === DEV_NULL && fd <= 2) {
		throw refuse(`is closed, or /dev/null: it has to be a pipe or a file, as in ${EXAMPLE[direction]}`);
	}
	const through = direction === 'write' ? '| cat >' : 'cat … |';
	if (stat.isDirectory()) throw refuse('is a folder; it has to be a pipe, a stream socket or a file');
	if (stat.isCharacterDevice() || stat.isBlockDevice())
		throw refuse(`is a device, which cannot be waited for: put a pipe before it (${through})`);
	const flags = fcntl(fd, F_GETFL, 0);
	const mode = flags & O_ACCMODE;
	const unfit = direction === 'write' ? O_RDONLY : O_WRONLY;
	// What Node and this program open for themselves (epoll, eventfd, timers) has no type at all.
	if (!stat.isFIFO() && !stat.isSocket() && !stat.isFile())
		throw refuse('is not open: nobody handed a pipe, a socket or a file over as this number');
	if (flags & O_PATH || mode === unfit) {
		const other = direction === 'write' ? 'reading' : 'writing';
		throw refuse(
			`is open for ${other} only: ${direction === 'write' ? `${fd}>` : `${fd}<`} opens it rightly`,
		);
	}
	if (stat.isFIFO()) refuseOwnPipe(fd, name, direction, flags);
	if (stat.isSocket()) checkSocket(fd, refuse);
	return { stat, flags };
}

function checkSocket(fd: number, refuse: (why: string) => Error): void {
	const value = buffer(4);
	const option = (which: number) =>
		getsockopt(fd, SOL_SOCKET, which, value, Int32Array.of(4)) < 0 ? undefined : value.readInt32LE(0);
	if (option(SO_TYPE) !== SOCK_STREAM)
		throw refuse('is a socket of messages, which loses some and bounds their size; use a stream socket');
	if (option(SO_ACCEPTCONN))
		throw refuse('is a socket that listens; hand a connected one over, or use --listen');
}

/**
 * A pipe of which this process holds both ends: Node's own (a number that nobody opened), or one whose reader would wait
 * for itself at the end.
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

/** Two shards that end in the same thing would mix their bytes. */
function refuseSame(all: readonly { name: string; stat: Stats }[]): void {
	const seen = new Map<string, string>();
	for (const { name, stat } of all) {
		const key = identity(stat);
		const other = seen.get(key);
		if (other) throw new UsageError(`${other} and ${name} are the same thing; each shard needs its own`);
		seen.set(key, name);
	}
}

/** Lines of progress in the middle of an image would spoil it. */
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

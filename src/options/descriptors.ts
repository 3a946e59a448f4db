/** The descriptors that the options name, and checks of those that are used for one purpose only. */
import { constants, fstatSync } from 'node:fs';
import { buffer, fcntl, getsockopt } from '../libc/calls.js';
import {
	F_GETFL,
	O_ACCMODE,
	O_PATH,
	O_RDONLY,
	O_WRONLY,
	SO_ACCEPTCONN,
	SO_TYPE,
	SOCK_STREAM,
	SOL_SOCKET,
} from '../libc/constants.js';
import { UsageError } from '../runtime/errors.js';
import type { Options } from './resolve.js';

/** The user's descriptors that the command uses, with the option that names each. */
export function descriptorsOf(options: Options): Map<number, string> {
	const fds = new Map<number, string>();
	const { shardFds, connect, listen, extFiles, progressFd, statusFd, criuFd } = options;
	if (progressFd !== undefined) fds.set(progressFd, progressFd === 2 ? 'stderr' : '--progress-fd');
	for (const fd of shardFds ?? []) fds.set(fd, '--shard-fds');
	for (const { fd } of extFiles) fds.set(fd, '--ext-file-fds');
	if (statusFd !== undefined) fds.set(statusFd, '--status-fd');
	if (criuFd !== undefined) fds.set(criuFd, '--criu-fd');
	if (!shardFds && !connect.length && !listen.length) {
		if (options.command === 'capture') fds.set(1, 'stdout');
		else fds.set(0, 'stdin');
	}
	// A shell's <(command) is the path of a descriptor.
	for (const value of Object.values(options)) {
		const fd = typeof value === 'string' && /^\/(?:dev|proc\/self)\/fd\/(\d+)$/.exec(value)?.[1];
		if (fd) fds.set(Number(fd), value);
	}
	return fds;
}

/** Whether `fd` was passed to this process: descriptors that Node opens for itself (epoll, eventfd) have no file type. */
export function isOpen(fd: number): boolean {
	try {
		return (fstatSync(fd).mode & constants.S_IFMT) !== 0;
	} catch {
		return false;
	}
}

/**
 * Throws unless --progress-fd and --status-fd are open. --status-fd is closed later, so it must not be used for anything
 * else.
 */
export function checkWatchers(options: Options): void {
	const { statusFd, progressFd } = options;
	if (progressFd !== undefined && !isOpen(progressFd))
		throw new UsageError(`--progress-fd: fd ${progressFd} is not open`);
	if (statusFd === undefined) return;
	const other = descriptorsOf({ ...options, statusFd: undefined }).get(statusFd);
	if (other) throw new UsageError(`--status-fd: fd ${statusFd} is used by ${other} already`);
	if (!isOpen(statusFd)) throw new UsageError(`--status-fd: fd ${statusFd} is not open`);
}

/** Throws where an --ext-file-fds of the command cannot be read, or written to by an extract. */
export function checkExtFiles(options: Options): void {
	const capture = options.command === 'capture';
	const others = descriptorsOf({ ...options, extFiles: [] });
	for (const { name, fd } of options.extFiles) {
		const refuse = (why: string) => new UsageError(`--ext-file-fds: fd ${fd}, for ${name}, ${why}`);
		if (!isOpen(fd)) throw refuse('is not open');
		const other = others.get(fd);
		if (other) throw refuse(`is used by ${other} already`);
		const stat = fstatSync(fd);
		if (stat.isDirectory())
			throw refuse('is a directory: an image holds files, so pack it, as in <(tar -C directory -c .)');
		const flags = fcntl(fd, F_GETFL, 0);
		if (flags & O_PATH || (flags & O_ACCMODE) === (capture ? O_WRONLY : O_RDONLY))
			throw refuse(`is open for ${capture ? 'writing' : 'reading'} only`);
		if (stat.isSocket()) checkStreamSocket(fd, refuse);
	}
}

/** Throws what `refuse` returns unless `fd` is a connected stream socket. */
export function checkStreamSocket(fd: number, refuse: (why: string) => Error): void {
	const value = buffer(4);
	const option = (which: number) =>
		getsockopt(fd, SOL_SOCKET, which, value, Int32Array.of(4)) < 0 ? undefined : value.readInt32LE(0);
	if (option(SO_TYPE) !== SOCK_STREAM)
		throw refuse('is a socket of messages, which loses some and bounds their size; use a stream socket');
	if (option(SO_ACCEPTCONN))
		throw refuse('is a socket that listens; hand a connected one over, or use --listen');
}

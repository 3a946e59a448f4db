/**
 * UNIX sockets by path. Node's own net module cannot receive descriptors, cannot take over a listening socket of another
 * process, and sets modes only after the socket is visible.
 */
import {
	closeSync,
	linkSync,
	lstatSync,
	openSync,
	readdirSync,
	readFileSync,
	readlinkSync,
	realpathSync,
	renameSync,
	unlinkSync,
} from 'node:fs';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { accept4, bind, buffer, close, connect, getsockopt, listen, socket } from '../libc/calls.js';
import {
	AF_UNIX,
	O_CLOEXEC,
	O_DIRECTORY,
	O_RDONLY,
	SO_PEERCRED,
	SOCK_CLOEXEC,
	SOCK_DGRAM,
	SOCK_NONBLOCK,
	SOCK_STREAM,
	SOL_SOCKET,
} from '../libc/constants.js';
import {
	EAGAIN,
	ECONNREFUSED,
	ENOENT,
	EPROTOTYPE,
	errnoText,
	explained,
	throwIfError,
} from '../libc/errno.js';
import { StreamError } from '../runtime/stream-error.js';

/** Flags of a listening socket in /proc/net/unix (__SO_ACCEPTCON). */
const LISTENING = 0x10000;
/** The size of sun_path, with the closing NUL. */
const PATH_BYTES = 108;
/** Default length of the queue of connections. */
const BACKLOG = 16;

/** See {@link listenUnix}. */
type Probe = 'connection' | 'table';

/** Calls `use` with a sockaddr_un for `path`; one that is too long goes through a descriptor of its directory. */
function withAddress(path: string, use: (address: Buffer) => number): number {
	if (Buffer.byteLength(path) < PATH_BYTES) return use(address(path));
	const open = () => openSync(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const directory = explained(`cannot open the directory of the socket ${path}`, open);
	try {
		const short = `/proc/self/fd/${directory}/${basename(path)}`;
		if (Buffer.byteLength(short) >= PATH_BYTES)
			throw new Error(`${path}: the file name is too long for a socket`);
		return use(address(short));
	} finally {
		closeSync(directory);
	}
}

function address(path: string): Buffer {
	const bytes = Buffer.from(path);
	const result = buffer(2 + bytes.length + 1);
	result.writeUInt16LE(AF_UNIX, 0);
	result.set(bytes, 2);
	return result;
}

function unixSocket(type = SOCK_STREAM): number {
	return throwIfError(socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'cannot create a UNIX socket');
}

/**
 * A connection to the socket at `path`; the caller owns the descriptor (non-blocking, close-on-exec). Negative errno where
 * no process listens.
 */
export function connectUnix(path: string): number {
	const fd = unixSocket();
	const result = withAddress(path, (to) => connect(fd, to, to.length));
	if (result < 0) close(fd);
	return result < 0 ? result : fd;
}

/**
 * A listening socket at `path`, mode 0600 from its first moment; the caller owns the descriptor and unlinks the path. A
 * socket of a process that has ended is replaced; one in use is an error that names the process.
 *
 * `probe` is the way to detect use: by a connection, which is the most reliable but visible to the server, or by the
 * kernel's table, for sockets whose server takes the first connection for CRIU. Up to `max` connections wait to be accepted;
 * further ones wait within connect(2), and cannot write yet.
 */
export function listenUnix(path: string, probe: Probe, max = BACKLOG): number {
	refuseInUse(path, probe);
	const fd = unixSocket();
	// Bound under another name and linked, so that the path never leads to a socket that does not listen yet.
	const fresh = join(dirname(path), `.${basename(path)}.${process.pid}`);
	try {
		const umask = process.umask(0o177);
		try {
			const bound = withAddress(fresh, (at) => bind(fd, at, at.length));
			throwIfError(bound, `cannot create the socket ${path}`);
		} finally {
			process.umask(umask);
		}
		try {
			// The kernel queues one connection more than the backlog.
			throwIfError(listen(fd, max - 1), `cannot listen on ${path}`);
			while (!claim(path, fresh, probe));
		} finally {
			unlinkSync(fresh);
		}
	} catch (error) {
		close(fd);
		throw error;
	}
	return fd;
}

/**
 * Gives the socket at `fresh` the name `path` too. Of several streamers that start at once only one may get it, so no file
 * is replaced: a dead socket is renamed and checked once more. Returns false where the caller must retry.
 */
function claim(path: string, fresh: string, probe: Probe): boolean {
	try {
		linkSync(fresh, path);
		return true;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
	}
	refuseInUse(path, probe);
	const aside = `${fresh}.old`;
	try {
		renameSync(path, aside);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
		throw error;
	}
	try {
		// Another process has taken the path meanwhile: restore it.
		if (isAlive(aside)) linkSync(aside, path);
	} finally {
		unlinkSync(aside);
	}
	return false;
}

/** Throws where a running process listens on `path`, or where it is not a socket. */
export function refuseInUse(path: string, probe: Probe): void {
	const found = lstatSync(path, { throwIfNoEntry: false });
	if (!found) return;
	if (!found.isSocket()) {
		throw new Error(`${path} exists and is not a socket: move it away, or choose another directory`);
	}
	const owner = probe === 'connection' ? ownerByConnection(path) : ownerByTable(path);
	if (owner) throw new StreamError('SOCKET_IN_USE', `${path} is in use by ${owner}: end it`);
}

function ownerByConnection(path: string): string | undefined {
	const fd = connectUnix(path);
	if (fd === -ECONNREFUSED || fd === -ENOENT) return undefined;
	if (fd === -EAGAIN) return 'another process';
	throwIfError(fd, `cannot tell whether ${path} is in use`);
	const { pid } = peerOf(fd);
	close(fd);
	return describe(pid);
}

/** Whether a process has the stream socket at `path` open: connecting a datagram socket to it fails with EPROTOTYPE. */
function isAlive(path: string): boolean {
	const fd = unixSocket(SOCK_DGRAM);
	const result = withAddress(path, (to) => connect(fd, to, to.length));
	close(fd);
	return result === -EPROTOTYPE;
}

/** The process that listens on `path` according to /proc/net/unix, which lists sockets by the path they were bound to. */
function ownerByTable(path: string): string | undefined {
	if (!isAlive(path)) return undefined;
	const wanted = realpathSync(dirname(path));
	const name = basename(path);
	const isIt = (bound: string) =>
		bound === name || (bound.startsWith(`.${name}.`) && /^\d+$/.test(bound.slice(name.length + 2)));
	for (const line of readFileSync('/proc/net/unix', 'utf8').split('\n').slice(1)) {
		const [, , , flags, , , inode, ...rest] = line.split(/ +/);
		const bound = rest.join(' ');
		if (Number.parseInt(flags ?? '', 16) !== LISTENING || !isIt(basename(bound))) continue;
		const pid = processWith(`socket:[${inode}]`);
		// A socket with a path too long to bind is listed with /proc/self/fd, which does not tell its directory.
		if (bound.startsWith('/proc/self/fd/') || directoryOf(bound, pid) === wanted) {
			return pid === undefined ? 'another process' : describe(pid);
		}
	}
	return 'another process';
}

function directoryOf(bound: string, pid: number | undefined): string | undefined {
	try {
		return realpathSync(isAbsolute(bound) ? dirname(bound) : join(`/proc/${pid}/cwd`, dirname(bound)));
	} catch {
		return undefined;
	}
}

/** The process with a descriptor of `what` (as readlink shows it). */
function processWith(what: string): number | undefined {
	for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
		try {
			const fds = readdirSync(`/proc/${pid}/fd`);
			if (fds.some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === what)) return Number(pid);
		} catch {
			// The process has ended meanwhile, or may not be inspected.
		}
	}
	return undefined;
}

function describe(pid: number): string {
	try {
		return `process ${pid} (${readFileSync(`/proc/${pid}/comm`, 'utf8').trim()})`;
	} catch {
		return `process ${pid}`;
	}
}

/** The process at the other end of a connected UNIX socket (for the client of a listening one: the one that called listen). */
export function peerOf(fd: number): { pid: number; uid: number; gid: number } {
	const value = buffer(12);
	const result = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, Int32Array.of(12));
	if (result < 0)
		throw new Error(`cannot tell which process is at the other end of fd ${fd}: ${errnoText(result)}`);
	return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) };
}

/** The next connection to the listening `fd`, or a negative errno (-EAGAIN: none yet). The caller owns it. */
export function acceptUnix(fd: number): number {
	return accept4(fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

/**
 * UNIX sockets by path. Node's own net module cannot receive descriptors, cannot take a listening socket over from another
 * process, and sets modes after the fact.
 */
import { closeSync, lstatSync, openSync, readFileSync, renameSync, unlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { accept4, bind, buffer, close, connect, getsockopt, listen, socket } from './calls.js';
import {
	AF_UNIX,
	O_CLOEXEC,
	O_DIRECTORY,
	O_RDONLY,
	SO_PEERCRED,
	SOCK_CLOEXEC,
	SOCK_NONBLOCK,
	SOCK_STREAM,
	SOL_SOCKET,
} from './constants.js';
import { callError, EAGAIN, ECONNREFUSED, ENOENT, errnoText, must } from './errno.js';

/** Of sun_path, with the closing NUL. */
const PATH_BYTES = 108;
/** Connections that wait to be accepted; CRIU makes one. */
const BACKLOG = 16;

/** Calls `use` with a sockaddr_un for `path`; one that is too long goes through a descriptor of its folder. */
function withAddress(path: string, use: (address: Buffer) => number): number {
	if (Buffer.byteLength(path) < PATH_BYTES) return use(address(path));
	const folder = openSync(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	try {
		const short = `/proc/self/fd/${folder}/${basename(path)}`;
		if (Buffer.byteLength(short) >= PATH_BYTES)
			throw new Error(`${path}: the file name is too long for a socket`);
		return use(address(short));
	} finally {
		closeSync(folder);
	}
}

function address(path: string): Buffer {
	const bytes = Buffer.from(path);
	const result = buffer(2 + bytes.length + 1);
	result.writeUInt16LE(AF_UNIX, 0);
	result.set(bytes, 2);
	return result;
}

function unixSocket(): number {
	const type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
	return must(socket(AF_UNIX, type, 0), 'cannot create a UNIX socket');
}

/**
 * A connection to the socket at `path`; the caller owns the descriptor (non-blocking, close-on-exec). Negative errno where
 * nobody listens.
 */
export function connectUnix(path: string): number {
	const fd = unixSocket();
	const result = withAddress(path, (to) => connect(fd, to, to.length));
	if (result < 0) close(fd);
	return result < 0 ? result : fd;
}

/**
 * A listening socket at `path`, mode 0600 from its first moment; the caller owns the descriptor and unlinks the path. A
 * socket that a dead process left is replaced; one in use is an error that names the process.
 */
export function listenUnix(path: string): number {
	refuseInUse(path);
	const fd = unixSocket();
	// Bound under another name and renamed: whoever finds the path finds a socket that already listens.
	const fresh = join(dirname(path), `.${basename(path)}.${process.pid}`);
	try {
		const umask = process.umask(0o177);
		try {
			must(
				withAddress(fresh, (at) => bind(fd, at, at.length)),
				`cannot create the socket ${path}`,
			);
		} finally {
			process.umask(umask);
		}
		try {
			must(listen(fd, BACKLOG), `cannot listen on ${path}`);
			renameSync(fresh, path);
		} catch (error) {
			unlinkSync(fresh);
			throw error;
		}
	} catch (error) {
		close(fd);
		throw error;
	}
	return fd;
}

function refuseInUse(path: string): void {
	const found = lstatSync(path, { throwIfNoEntry: false });
	if (!found) return;
	if (!found.isSocket())
		throw new Error(`${path} exists and is not a socket: move it away, or choose another --work-dir`);
	const fd = connectUnix(path);
	if (fd === -ECONNREFUSED || fd === -ENOENT) return;
	if (fd < 0 && fd !== -EAGAIN) throw callError(`cannot tell whether ${path} is in use`, fd);
	const owner = fd < 0 ? 'another process' : describe(peerOf(fd).pid);
	if (fd >= 0) close(fd);
	throw new Error(`${path} is in use by ${owner}: end it, or choose another --work-dir`);
}

function describe(pid: number): string {
	try {
		return `process ${pid} (${readFileSync(`/proc/${pid}/comm`, 'utf8').trim()})`;
	} catch {
		return `process ${pid}`;
	}
}

/** Who is at the other end of a connected UNIX socket (for a listening one's client: who called listen). */
export function peerOf(fd: number): { pid: number; uid: number; gid: number } {
	const value = buffer(12);
	const result = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, value, Int32Array.of(12));
	if (result < 0) throw new Error(`cannot tell who is at the other end of fd ${fd}: ${errnoText(result)}`);
	return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) };
}

/** The next connection to the listening `fd`, or a negative errno (-EAGAIN: none yet). The caller owns it. */
export function acceptUnix(fd: number): number {
	return accept4(fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
}

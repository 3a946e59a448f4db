/**
 * Connections as plain descriptors, which splice can move bytes to and from: Node's own sockets read ahead, and copy
 * everything through user memory.
 */
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import {
	accept4,
	bind,
	buffer,
	close,
	connect,
	getsockopt,
	listen,
	setsockopt,
	socket,
} from '../libc/calls.js';
import {
	AF_INET,
	AF_INET6,
	IPPROTO_TCP,
	SO_ERROR,
	SO_KEEPALIVE,
	SO_REUSEADDR,
	SOCK_CLOEXEC,
	SOCK_NONBLOCK,
	SOCK_STREAM,
	SOL_SOCKET,
	TCP_KEEPCNT,
	TCP_KEEPIDLE,
	TCP_KEEPINTVL,
	TCP_NODELAY,
} from '../libc/constants.js';
import { callError, EAGAIN, EINPROGRESS, throwIfError } from '../libc/errno.js';
import { EPOLLIN, EPOLLOUT, poller } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import { type Address, describeSockaddr, inetSockaddr, vsockSockaddr } from '../net/address.js';
import { registerCleanup, removeRegistered } from '../runtime/cleanup.js';
import { codeOf } from '../runtime/errors.js';
import { acceptUnix, connectUnix, listenUnix, peerOf } from './unix-socket.js';

/** Length of the queue of connections: the maximum number of shards. */
const BACKLOG = 32;
/** A host that disappeared is noticed after 10 s without traffic and five probes, one every 5 s. */
const KEEPALIVE: [option: number, value: number][] = [
	[TCP_KEEPIDLE, 10],
	[TCP_KEEPINTVL, 5],
	[TCP_KEEPCNT, 5],
];

/**
 * One attempt to connect. The caller owns the descriptor (non-blocking). Throws errors with `errno` where a system call
 * failed.
 */
export async function dial(address: Address, deadline: number): Promise<number> {
	const what = `cannot connect to ${address.text}`;
	if (address.kind === 'unix') return throwIfError(connectUnix(address.path), what);
	let failure: unknown;
	for (const to of await sockaddrs(address)) {
		try {
			return await dialOne(to, what, deadline);
		} catch (error) {
			failure = error;
		}
	}
	throw failure;
}

async function dialOne(to: Buffer, what: string, deadline: number): Promise<number> {
	const fd = openSocket(to, what);
	try {
		const result = connect(fd, to, to.length);
		if (result < 0 && result !== -EINPROGRESS) throw callError(what, result);
		if (result < 0) {
			if (!(await waitFor(fd, EPOLLOUT, { deadline }))) throw new Error(`${what}: no answer`);
			const value = buffer(4);
			throwIfError(getsockopt(fd, SOL_SOCKET, SO_ERROR, value, Int32Array.of(4)), what);
			if (value.readInt32LE(0)) throw callError(what, -value.readInt32LE(0));
		}
		return fd;
	} catch (error) {
		poller.close(fd);
		throw error;
	}
}

/** A socket that listens at one address. */
export interface Listener {
	readonly address: Address;
	readonly fd: number;
	/** Also removes the path of a UNIX socket. */
	close(): void;
}

/** Starts to listen. Throws where the address is in use or not an address of this machine. */
export async function listenAt(address: Address): Promise<Listener> {
	if (address.kind === 'unix') {
		const path = resolve(address.path);
		const fd = listenAtPath(path);
		registerCleanup(path);
		const end = () => {
			removeRegistered(path);
			closeListening(fd);
		};
		return { address, fd, close: end };
	}
	const what = `cannot listen at ${address.text}`;
	const [at] = await sockaddrs(address);
	const fd = openSocket(at!, what);
	try {
		// The kernel keeps the port of a previous run in TIME_WAIT.
		setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
		throwIfError(bind(fd, at!, at!.length), what);
		throwIfError(listen(fd, BACKLOG), what);
	} catch (error) {
		close(fd);
		throw error;
	}
	return { address, fd, close: () => closeListening(fd) };
}

/** The code of a socket in use is for those of the work directory, in whose place another one can be chosen. */
function listenAtPath(path: string): number {
	try {
		return listenUnix(path, 'table');
	} catch (error) {
		if (codeOf(error) !== 'SOCKET_IN_USE') throw error;
		throw new Error(`${(error as Error).message}, or choose another address`);
	}
}

function closeListening(fd: number): void {
	poller.interrupt(fd);
	poller.close(fd);
}

const peer = buffer(28);

/** The next connection and the address of its peer, or a negative errno (-EAGAIN: none yet). The caller owns the descriptor. */
export function acceptAt({ fd: listening, address }: Listener): { fd: number; name: string } | number {
	if (address.kind === 'unix') {
		const fd = acceptUnix(listening);
		return fd < 0 ? fd : { fd, name: `${address.text} (process ${peerOf(fd).pid})` };
	}
	const fd = accept4(listening, peer, Int32Array.of(peer.length), SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) return fd;
	const name = describeSockaddr(peer);
	if (address.kind === 'tcp') tune(fd);
	return { fd, name };
}

/** Resolves when {@link acceptAt} may have a connection, or the listener was closed. */
export async function incoming(listener: Listener): Promise<void> {
	await waitFor(listener.fd, EPOLLIN);
}

/** Every sockaddr of the address: a host name may have several. */
async function sockaddrs(address: Exclude<Address, { kind: 'unix' }>): Promise<Buffer[]> {
	if (address.kind === 'vsock') return [vsockSockaddr(address.cid, address.port)];
	const { host, port } = address;
	if (isIP(host)) return [inetSockaddr(host, port)];
	try {
		const found = await lookup(host, { all: true });
		return found.map((each) => inetSockaddr(each.address, port));
	} catch (cause) {
		const { code } = cause as NodeJS.ErrnoException;
		throw Object.assign(new Error(`${address.text}: there is no host ${host}`), { code });
	}
}

function openSocket(address: Buffer, what: string): number {
	const family = address.readUInt16LE(0);
	const fd = throwIfError(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), what);
	if (family === AF_INET || family === AF_INET6) tune(fd);
	return fd;
}

/** None of these options is required for a stream to arrive, so failures are ignored. */
function tune(fd: number): void {
	setOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	setOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	for (const [option, value] of KEEPALIVE) setOption(fd, IPPROTO_TCP, option, value);
}

function setOption(fd: number, level: number, option: number, value: number): void {
	const memory = buffer(4);
	memory.writeInt32LE(value);
	setsockopt(fd, level, option, memory, 4);
}

/** Whether `result` of a call only means that nothing is ready yet. */
export function notYet(result: number): boolean {
	return result === -EAGAIN;
}

/**
 * The libc calls that Node does not offer, through koffi. No other module depends on koffi, except for the watch in
 * poller.ts.
 *
 * Every call returns the result of libc, or the negative errno. None may block: the descriptor is non-blocking, or the flags
 * say so, or the call never waits. koffi passes NaN as 0, which is stdin, so descriptors given by the user are checked where
 * they are parsed (options/values.ts). A buffer that the kernel fills must be an ArrayBuffer of its own ({@link buffer}):
 * small typed arrays live on V8's heap, and move.
 */
import { endianness } from 'node:os';
import koffi from 'koffi';
import { faultsFrom } from './faults.js';

if (endianness() !== 'LE') throw new Error('CRIU streams are little-endian; this machine is not');

const libc = koffi.load(null);

/** Tests inject failures with this variable. */
const faults = process.env.CRIU_STREAMER_FAULTS ? faultsFrom(process.env.CRIU_STREAMER_FAULTS) : undefined;

function define<A extends unknown[]>(signature: string): (...args: A) => number {
	const native = libc.func(signature) as (...args: A) => number;
	const call = (...args: A) => {
		const result = native(...args);
		return result < 0 ? -koffi.errno() : result;
	};
	return faults ? faults.wrap(native.name || /(\w+)\(/.exec(signature)![1]!, call) : call;
}

/** Memory that neither moves nor is collected while the returned value is held. */
export function buffer(bytes: number): Buffer {
	return Buffer.from(new ArrayBuffer(bytes));
}

/**
 * The address of `memory` (from {@link buffer}), for structures that hold addresses; keep `memory` referenced as long as
 * they are used.
 */
export function addressOf(memory: Buffer): bigint {
	return koffi.address(memory);
}

type Fd = number;
type Memory = Uint8Array;

export const close = define<[fd: Fd]>('int close(int fd)');
export const read = define<[fd: Fd, into: Memory, bytes: number]>(
	'intptr_t read(int fd, void *to, size_t n)',
);
export const write = define<[fd: Fd, from: Memory, bytes: number]>(
	'intptr_t write(int fd, const void *from, size_t n)',
);
export const pread = define<[fd: Fd, into: Memory, bytes: number, at: number]>(
	'intptr_t pread(int fd, void *to, size_t n, int64_t at)',
);
export const pwrite = define<[fd: Fd, from: Memory, bytes: number, at: number]>(
	'intptr_t pwrite(int fd, const void *from, size_t n, int64_t at)',
);

/** Returns a positive errno where the advice cannot be taken. */
export const posixFadvise = define<[fd: Fd, at: number, bytes: number, advice: number]>(
	'int posix_fadvise(int fd, int64_t at, int64_t n, int advice)',
);

/** `fromAt` and `toAt` hold an int64 offset that the call advances, or are null (pipes, and files at their own position). */
export const splice = define<
	[from: Fd, fromAt: BigInt64Array | null, to: Fd, toAt: BigInt64Array | null, bytes: number, flags: number]
>('intptr_t splice(int from, void *from_at, int to, void *to_at, size_t n, uint32_t flags)');
export const tee = define<[from: Fd, to: Fd, bytes: number, flags: number]>(
	'intptr_t tee(int from, int to, size_t n, uint32_t flags)',
);
export const mkfifo = define<[path: string, mode: number]>('int mkfifo(const char *path, uint32_t mode)');
export const pipe2 = define<[ends: Int32Array, flags: number]>('int pipe2(void *ends, int flags)');
export const fcntl = define<[fd: Fd, command: number, argument: number]>(
	'int fcntl(int fd, int cmd, intptr_t arg)',
);
export const ioctl = define<[fd: Fd, request: number, value: Memory | Int32Array]>(
	'int ioctl(int fd, uint64_t request, void *value)',
);
export const dup = define<[fd: Fd]>('int dup(int fd)');
export const dup2 = define<[fd: Fd, to: Fd]>('int dup2(int fd, int to)');
export const memfdCreate = define<[name: string, flags: number]>(
	'int memfd_create(const char *name, uint32_t flags)',
);
export const fallocate = define<[fd: Fd, mode: number, at: number, bytes: number]>(
	'int fallocate(int fd, int mode, int64_t at, int64_t n)',
);

export const socket = define<[family: number, type: number, protocol: number]>(
	'int socket(int f, int t, int p)',
);
export const bind = define<[fd: Fd, address: Memory, bytes: number]>(
	'int bind(int fd, void *addr, uint32_t n)',
);
export const connect = define<[fd: Fd, address: Memory, bytes: number]>(
	'int connect(int fd, void *addr, uint32_t n)',
);
export const listen = define<[fd: Fd, backlog: number]>('int listen(int fd, int backlog)');
export const accept4 = define<[fd: Fd, address: Memory | null, bytes: Int32Array | null, flags: number]>(
	'int accept4(int fd, void *addr, void *n, int flags)',
);
export const shutdown = define<[fd: Fd, how: number]>('int shutdown(int fd, int how)');
export const getsockopt = define<[fd: Fd, level: number, option: number, value: Memory, bytes: Int32Array]>(
	'int getsockopt(int fd, int level, int option, void *value, void *n)',
);
export const setsockopt = define<[fd: Fd, level: number, option: number, value: Memory, bytes: number]>(
	'int setsockopt(int fd, int level, int option, void *value, uint32_t n)',
);
/** `message` is a struct msghdr, built in libc/message.ts. */
export const recvmsg = define<[fd: Fd, message: Memory, flags: number]>(
	'intptr_t recvmsg(int fd, void *m, int flags)',
);
export const sendmsg = define<[fd: Fd, message: Memory, flags: number]>(
	'intptr_t sendmsg(int fd, void *m, int flags)',
);

/** `fds` holds one struct pollfd (int fd, short events, short revents) for each; `millis` must be 0: nothing may block. */
export const poll = define<[fds: Memory, count: number, millis: 0]>(
	'int poll(void *fds, unsigned long count, int millis)',
);
export const epollCreate1 = define<[flags: number]>('int epoll_create1(int flags)');
export const epollCtl = define<[epoll: Fd, operation: number, fd: Fd, event: Memory]>(
	'int epoll_ctl(int epfd, int op, int fd, void *event)',
);
export const epollWait = define<[epoll: Fd, events: Memory, max: number, millis: number]>(
	'int epoll_wait(int epfd, void *events, int max, int ms)',
);
export const timerfdCreate = define<[clock: number, flags: number]>(
	'int timerfd_create(int clock, int flags)',
);
export const timerfdSettime = define<[fd: Fd, flags: number, value: Memory, old: null]>(
	'int timerfd_settime(int fd, int flags, void *value, void *old)',
);

export const linkat = define<[fromDirectory: Fd, from: string, toDirectory: Fd, to: string, flags: number]>(
	'int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)',
);
const nativeSyncfs = libc.func('int syncfs(int fd)');
/** Runs on a thread of its own, because it waits for the disk. Resolves with the result of libc. */
export function syncfs(fd: Fd): Promise<number> {
	return new Promise((resolve) =>
		nativeSyncfs.async(fd, (_error: unknown, result: number) => resolve(result)),
	);
}

/** `limits` holds two uint64: the soft and the hard limit. */
export const getrlimit = define<[resource: number, limits: BigUint64Array]>(
	'int getrlimit(int resource, void *limits)',
);
export const setrlimit = define<[resource: number, limits: BigUint64Array]>(
	'int setrlimit(int resource, const void *limits)',
);
/** Ends the process at once: process.exit waits for Node's threads, one of which may be blocked in a call. */
export const exitNow = define<[status: number]>('int _exit(int status)');

/** Helpers for the tests of a service. */
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { throwIfError } from '../../src/libc/errno.js';
import { acceptUnix, connectUnix, listenUnix } from '../../src/net/unix-socket.js';
import { afterwards } from '../support/cleanup.js';
import { file, fileEnd, imageEnd, streamOf } from '../support/markers.js';
import { End } from '../support/pipe.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';

export const CAPTURE = 'streamer-capture.sock';
export const SERVE = 'streamer-serve.sock';

/** Resolves once the file (or socket) `name` is in the directory. */
export function appears(directory: string, name: string): Promise<true> {
	return until(
		`${name} in ${directory}`,
		() => existsSync(join(directory, name)) || undefined,
	) as Promise<true>;
}

/** The process whose id is in the file; it is killed when the test ends. */
export function processOf(pidfile: string): number {
	const pid = Number(readFileSync(pidfile, 'utf8'));
	afterwards(() => isAlive(pid) && process.kill(pid, 'SIGKILL'));
	return pid;
}

export function isAlive(pid: number): boolean {
	try {
		// A zombie has ended and is not reaped yet.
		return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
	} catch {
		return false;
	}
}

export const ends = (pid: number) => until(`the end of process ${pid}`, () => !isAlive(pid));

/** The target of the descriptor, as /proc shows it; undefined where it is not open. */
export function descriptor(pid: number, fd: number): string | undefined {
	return readdirSync(`/proc/${pid}/fd`).includes(String(fd))
		? readlinkSync(`/proc/${pid}/fd/${fd}`)
		: undefined;
}

/** A stream with one empty file. */
export const smallStream = () => streamOf(file('inventory.img'), fileEnd(), imageEnd());

/** A listening socket in a new directory. */
export function listener(): { end: End; path: string } {
	const path = join(temporaryDirectory(), 'handed-over.sock');
	return { end: new End(listenUnix(path, 'table')), path };
}

/** Both ends of a connection. */
export function connection(): { ours: number; theirs: End } {
	const { end, path } = listener();
	const near = throwIfError(connectUnix(path), 'connect');
	return { ours: near, theirs: new End(throwIfError(acceptUnix(end.fd), 'accept')) };
}

/**
 * --daemon. Node cannot fork, so the foreground process starts the same command again in a new session, passes every
 * descriptor on under its number, and waits until the new process is ready or has failed.
 *
 * Until it is ready the daemon writes to the foreground's stderr, so that the error of a failed start appears in the user's
 * terminal. Relative paths stay valid: the current directory does not change.
 */
import { spawn } from 'node:child_process';
import { constants as system } from 'node:os';
import { descriptorsOf, isOpen } from '../options/descriptors.js';
import type { Options } from '../options/resolve.js';
import { exitCleanly, onSuddenExit } from '../runtime/cleanup.js';

/** The environment variable that marks the daemon: `ready:FD` and, with a socket from systemd, `,criu:FD`. */
const MARK_VARIABLE = 'CRIU_STREAMER_DAEMON';
/** Ends the foreground process with status 0. */
export const READY = Buffer.of(0);
/** In place of an exit status: the daemon is ready, and keeps running. */
const STILL_RUNNING = -1;

/** The descriptors that the daemon gets from its foreground process. */
export interface Detached {
	/** {@link READY} is written to it; closing it without that is a failure. */
	readyFd: number;
	/** A socket that systemd passed to the foreground process. */
	criuFd: number | undefined;
}

/** The descriptors passed to the daemon; undefined in a process that the user started. */
export function takeDetached(): Detached | undefined {
	const mark = /^ready:(\d+)(?:,criu:(\d+))?$/.exec(process.env[MARK_VARIABLE] ?? '');
	delete process.env[MARK_VARIABLE];
	return mark ? { readyFd: Number(mark[1]), criuFd: mark[2] ? Number(mark[2]) : undefined } : undefined;
}

/** In the foreground: starts the daemon, waits for it, and ends this process with 0, or with the daemon's own status. */
export async function detach(options: Options, criuFd: number | undefined): Promise<never> {
	const fds = descriptorsOf(options);
	if (criuFd !== undefined) fds.set(criuFd, 'LISTEN_FDS');
	// A descriptor that is not open cannot be passed on; the daemon reports it as it would without --daemon.
	for (const fd of fds.keys()) if (!isOpen(fd)) fds.delete(fd);
	const readyFd = Math.max(2, ...fds.keys()) + 1;
	const stdio = Array.from({ length: readyFd + 1 }, (_, fd): number | 'ignore' | 'pipe' => {
		if (fd === readyFd) return 'pipe';
		return fds.has(fd) || fd === 2 ? fd : 'ignore';
	});
	const mark = `ready:${readyFd}${criuFd === undefined ? '' : `,criu:${criuFd}`}`;
	const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
		detached: true,
		stdio,
		env: { ...process.env, [MARK_VARIABLE]: mark },
	});
	const unregister = onSuddenExit(() => child.kill('SIGTERM'));
	const status = await new Promise<number>((resolve, reject) => {
		child.once('error', (error) => reject(new Error('cannot start the daemon', { cause: error })));
		child.once('exit', (code, signal) => resolve(code ?? 128 + system.signals[signal!]));
		child.stdio[readyFd]?.once('data', () => resolve(STILL_RUNNING));
	});
	unregister();
	// A daemon that ended before it was ready has failed, even if its exit status is 0.
	return exitCleanly(status === STILL_RUNNING ? 0 : status || 1);
}

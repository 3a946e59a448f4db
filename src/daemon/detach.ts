/**
 * --daemon. Node cannot fork, so the foreground process starts the same command once more in a session of its own, hands
 * every descriptor on under its number, and waits until that one is ready or has failed.
 *
 * Until it is ready the daemon writes to the foreground's stderr, so that a start that fails is explained where the user
 * looks. Paths go on working: the current folder stays what it was.
 */
import { spawn } from 'node:child_process';
import { constants as system } from 'node:os';
import { descriptorsOf, isOpen } from '../options/descriptors.js';
import type { Options } from '../options/resolve.js';
import { exitCleanly, onSuddenExit } from '../runtime/cleanup.js';

/** Says to the daemon what it is: `ready:FD` and, with a socket from systemd, `,criu:FD`. */
const MARK = 'CRIU_STREAMER_DAEMON';
/** Ends the foreground process with status 0. */
export const READY = Buffer.of(0);
/** In place of an exit status: the daemon is ready, and goes on. */
const UP = -1;

/** What the daemon has from its foreground process. */
export interface Detached {
	/** Takes {@link READY}; closing it without is a failure. */
	readyFd: number;
	/** A socket that systemd gave to the foreground. */
	criuFd: number | undefined;
}

/** In the daemon: what it was given. Undefined in a process that the user started. */
export function takeDetached(): Detached | undefined {
	const mark = /^ready:(\d+)(?:,criu:(\d+))?$/.exec(process.env[MARK] ?? '');
	delete process.env[MARK];
	return mark ? { readyFd: Number(mark[1]), criuFd: mark[2] ? Number(mark[2]) : undefined } : undefined;
}

/** In the foreground: starts the daemon, waits for it, and ends this process with 0, or with the daemon's own status. */
export async function detach(options: Options, criuFd: number | undefined): Promise<never> {
	const fds = descriptorsOf(options);
	if (criuFd !== undefined) fds.set(criuFd, 'LISTEN_FDS');
	// What is not open cannot be handed on, and the daemon says so as it would without --daemon.
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
		env: { ...process.env, [MARK]: mark },
	});
	const letGo = onSuddenExit(() => child.kill('SIGTERM'));
	const status = await new Promise<number>((resolve, reject) => {
		child.once('error', (error) => reject(new Error('cannot start the daemon', { cause: error })));
		child.once('exit', (code, signal) => resolve(code ?? 128 + system.signals[signal!]));
		child.stdio[readyFd]?.once('data', () => resolve(UP));
	});
	letGo();
	// A daemon that ended before it was ready has not done what it was asked, whatever it says.
	return exitCleanly(status === UP ? 0 : status || 1);
}

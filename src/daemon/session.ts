/**
 * The parts of a command that do not handle the image: its work directory, its socket for CRIU, its log, its start and end.
 */
import { closeSync, openSync } from 'node:fs';
import { resolve } from 'node:path';
import type { CriuSocket, OnCriu } from '../criu/socket.js';
import { close, dup2, write } from '../libc/calls.js';
import { O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY } from '../libc/constants.js';
import { explained } from '../libc/errno.js';
import { setNonBlocking } from '../libc/pipes.js';
import { checkOptions } from '../options/check.js';
import { describeWithHint } from '../options/hints.js';
import type { Options } from '../options/resolve.js';
import { flushLines, linesTo, releaseLines } from '../report/lines.js';
import { isStderrLog, type Log, makeLog, stderrIsLog } from '../report/log.js';
import { removeRegistered } from '../runtime/cleanup.js';
import type { Way } from '../transports/open.js';
import { openCriuSocket } from './criu-socket.js';
import { type Detached, detach, READY, takeDetached } from './detach.js';
import { takeActivation } from './handed-over.js';
import { writePidfile } from './pidfile.js';
import { openWorkDir } from './work-dir.js';

export interface Session {
	/** Absolute. */
	readonly workDir: string;
	readonly log: Log;
	/** The transport of the stream, from the options and the descriptors. */
	readonly way: Way;
	/** Aborting it fails the command with the signal's reason. */
	readonly signal?: AbortSignal;
	/** The words for an error: its message, and the option that cures it as this side calls it (options/hints.ts). */
	describe(error: unknown): string;
	/**
	 * The socket for CRIU: created in the work dir, or the one that was handed over. CRIU may connect as soon as it exists, so
	 * a replay opens it only when the image is complete. `onCriu` is called for each CRIU before it is served.
	 */
	openCriuSocket(onCriu: OnCriu): CriuSocket;
	/**
	 * Reports that the command is ready: --status-fd gets its NUL, and the foreground process of --daemon exits with 0. Safe
	 * to call twice.
	 */
	ready(): Promise<void>;
	/** Removes the socket and the pidfile, and writes `error`, which ended the command, to the log file. Safe to call twice. */
	close(error?: unknown): Promise<void>;
}

/**
 * Starts the command of `options`, whose socket for CRIU is `socketName` in the work dir (undefined: it needs none). With
 * --daemon this returns in the daemon only.
 */
export async function openSession(options: Options, socketName: string | undefined): Promise<Session> {
	const detached = takeDetached();
	const activated = detached ? detached.criuFd : takeActivation();
	const passesOn = options.daemon && !detached;
	const { way, handedOver } = await checkOptions(options, { socketName, activated, passesOn });
	if (passesOn) return await detach(options, activated);

	const workDir = openWorkDir(options);
	if (handedOver) setNonBlocking(handedOver.fd);
	const logFd = options.logFile === undefined ? undefined : openLogFile(resolve(workDir, options.logFile));
	const log = makeLog(options.verbosity, logFd);
	const pidfile = options.pidfile === undefined ? undefined : resolve(workDir, options.pidfile);
	if (pidfile) writePidfile(pidfile);

	let socket: CriuSocket | undefined;
	let closed = false;
	let isReady = false;
	return {
		workDir,
		log,
		way,
		describe: describeWithHint,

		openCriuSocket(onCriu) {
			const clients = options.criuClients;
			socket = openCriuSocket({ workDir, socketName: socketName!, handedOver, clients }, onCriu);
			return socket;
		},

		async ready() {
			if (isReady) return;
			isReady = true;
			if (options.statusFd !== undefined) await reportReady(options.statusFd);
			if (detached) await leaveForeground(detached, options, logFd);
		},

		async close(error) {
			if (closed) return;
			closed = true;
			socket?.close();
			if (pidfile) removeRegistered(pidfile);
			if (error !== undefined && logFd !== undefined && !isStderrLog()) log.error(describeWithHint(error));
			await flushLines();
			if (logFd === undefined) return;
			await releaseLines(logFd);
			closeSync(logFd);
		},
	};
}

function openLogFile(path: string): number {
	// Opening a FIFO without a reader fails with O_NONBLOCK, and would wait without it.
	const open = () => openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, 0o600);
	return explained(`cannot open the log file ${path}`, open);
}

/** Writes one NUL and closes `fd`, as CRIU's services report that they are ready. */
async function reportReady(fd: number): Promise<void> {
	linesTo(fd).write('\0');
	await releaseLines(fd);
	// The next file opened would get this number, and be used as stdin, stdout or stderr.
	if (fd <= 2) redirectToNull(fd);
	else close(fd);
}

/** Makes the daemon's stderr the log file, or /dev/null, and ends the foreground process. */
async function leaveForeground(
	{ readyFd }: Detached,
	options: Options,
	logFd: number | undefined,
): Promise<void> {
	const stream = [...(options.shardFds ?? []), ...options.extFiles.map(({ fd }) => fd)];
	if (!stream.includes(2)) {
		await releaseLines(2);
		if (logFd === undefined) redirectToNull(2);
		else {
			dup2(logFd, 2);
			stderrIsLog();
		}
	}
	write(readyFd, READY, 1);
	close(readyFd);
}

function redirectToNull(fd: number): void {
	const devNull = openSync('/dev/null', 'r+');
	dup2(devNull, fd);
	closeSync(devNull);
}

/** Everything around a command that is not the image: its folder, its socket for CRIU, its log, its beginning and end. */
import { closeSync, constants, openSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Options } from '../cli/options.js';
import { ConnectedSocket, type CriuSocket, ListeningSocket, type OnCriu } from '../criu/socket.js';
import { close, dup2, fcntl, write } from '../libc/calls.js';
import { F_GETFL, O_ACCMODE, O_RDONLY, O_WRONLY } from '../libc/constants.js';
import { errnoText } from '../libc/errno.js';
import { refuseInUse } from '../libc/unix-socket.js';
import { flushLines, forgetLines, linesTo } from '../report/lines.js';
import { type Log, makeLog, stderrIsLog } from '../report/log.js';
import { describeError, UsageError } from '../run/errors.js';
import { endInOrder, remove } from '../run/leftovers.js';
import { type Detached, descriptorsOf, detach, isOpen, READY, takeDetached } from './detach.js';
import { checkHandedOver, takeActivation } from './handed-over.js';
import { writePidfile } from './pidfile.js';
import { checkWritable, openWorkDir } from './work-dir.js';

export interface Session {
	/** Absolute. */
	readonly workDir: string;
	readonly log: Log;
	/**
	 * The socket for CRIU: made in the work dir, or the one that was handed over. CRIU may come as soon as it is there, so for
	 * a replay it is asked for when the image is here. `onCriu` hears of each CRIU before it is served.
	 */
	openCriuSocket(onCriu: OnCriu): CriuSocket;
	/** The command is up: --status-fd gets its NUL, and the foreground of --daemon returns 0. */
	ready(): Promise<void>;
	/** Removes the socket and the pidfile, and writes `error`, which ended the command, to the log file. Safe to call twice. */
	close(error?: unknown): Promise<void>;
}

/**
 * Begins the command of `options`, whose socket for CRIU is `socketName` in the work dir (undefined: it needs none). With
 * --daemon this returns in the daemon only. Signals and unexpected errors end the process in order from here on.
 */
export async function openSession(options: Options, socketName: string | undefined): Promise<Session> {
	endInOrder();
	const detached = takeDetached();
	const activated = detached ? detached.criuFd : takeActivation();
	checkWatchers(options);
	checkExtFiles(options);
	const handedOver = options.criuFd ?? activated;
	const kind =
		handedOver === undefined
			? undefined
			: checkHandedOver(handedOver, options.criuFd === undefined ? 'LISTEN_FDS' : '--criu-fd');
	if (kind === 'connected' && options.criuClients > 1)
		throw new UsageError(
			`--criu-clients ${options.criuClients} needs a socket that listens, and fd ${handedOver} is connected to one CRIU`,
		);
	const workDir = openWorkDir(options.workDir);
	if (socketName !== undefined && kind === undefined) {
		// Now, rather than when the image has been read.
		checkWritable(workDir);
		refuseInUse(join(workDir, socketName), 'table');
	}
	if (options.daemon && !detached) return await detach(options, activated);

	const logFd = options.logFile === undefined ? undefined : openLogFile(resolve(workDir, options.logFile));
	const log = makeLog(options.verbosity, logFd);
	const pidfile = options.pidfile === undefined ? undefined : resolve(workDir, options.pidfile);
	if (pidfile) writePidfile(pidfile);

	let socket: CriuSocket | undefined;
	let closed = false;
	let left = false;
	return {
		workDir,
		log,

		openCriuSocket(onCriu) {
			const clients = options.criuClients;
			if (handedOver === undefined) socket = ListeningSocket.at(join(workDir, socketName!), clients, onCriu);
			else if (kind === 'listening') socket = new ListeningSocket(handedOver, clients, onCriu);
			else socket = new ConnectedSocket(handedOver, onCriu);
			return socket;
		},

		async ready() {
			if (options.statusFd !== undefined) await giveStatus(options.statusFd);
			if (!detached || left) return;
			left = true;
			await leaveForeground(detached, options, logFd);
		},

		async close(error) {
			if (closed) return;
			closed = true;
			socket?.close();
			if (pidfile) remove(pidfile);
			if (error !== undefined && logFd !== undefined && !left) log.error(describeError(error));
			await flushLines();
			if (logFd === undefined) return;
			await forgetLines(logFd);
			closeSync(logFd);
		},
	};
}

/** Who watches must be there at the start, though it may go away; what --status-fd names is closed, so it is nothing else. */
function checkWatchers(options: Options): void {
	const { statusFd, progressFd } = options;
	if (!isOpen(progressFd)) throw new UsageError(`--progress-fd: fd ${progressFd} is not open`);
	if (statusFd === undefined) return;
	const other = descriptorsOf({ ...options, statusFd: undefined }).get(statusFd);
	if (other) throw new UsageError(`--status-fd: fd ${statusFd} is used by ${other} already`);
	if (!isOpen(statusFd)) throw new UsageError(`--status-fd: fd ${statusFd} is not open`);
}

/** Now, rather than when the application stands still. */
function checkExtFiles(options: Options): void {
	const capture = options.command === 'capture';
	const others = descriptorsOf({ ...options, extFiles: [] });
	for (const { name, fd } of options.extFiles) {
		const refuse = (why: string) => new UsageError(`--ext-file-fds: fd ${fd}, for ${name}, ${why}`);
		if (!isOpen(fd)) throw refuse('is not open');
		const other = others.get(fd);
		if (other) throw refuse(`is used by ${other} already`);
		if ((fcntl(fd, F_GETFL, 0) & O_ACCMODE) === (capture ? O_WRONLY : O_RDONLY))
			throw refuse(`is open for ${capture ? 'writing' : 'reading'} only`);
	}
}

function openLogFile(path: string): number {
	const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK } = constants;
	try {
		// Of a FIFO without a reader the open fails rather than waits.
		return openSync(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, 0o600);
	} catch (error) {
		const { errno } = error as NodeJS.ErrnoException;
		throw new Error(`cannot open the log file ${path}: ${errnoText(errno ?? 0)}`);
	}
}

/** One NUL and the end, as CRIU's services tell that they are up. */
async function giveStatus(fd: number): Promise<void> {
	linesTo(fd).write('\0');
	await forgetLines(fd);
	// The next file opened would be stdin, stdout or stderr to everybody else.
	if (fd <= 2) silence(fd);
	else close(fd);
}

/** The daemon's stderr becomes the log, or nothing, and the foreground process ends. */
async function leaveForeground(
	{ readyFd }: Detached,
	options: Options,
	logFd: number | undefined,
): Promise<void> {
	const stream = [...(options.shardFds ?? []), ...options.extFiles.map(({ fd }) => fd)];
	if (!stream.includes(2)) {
		await forgetLines(2);
		if (logFd === undefined) silence(2);
		else {
			dup2(logFd, 2);
			stderrIsLog();
		}
	}
	write(readyFd, READY, 1);
	close(readyFd);
}

function silence(fd: number): void {
	const nothing = openSync('/dev/null', 'r+');
	dup2(nothing, fd);
	closeSync(nothing);
}

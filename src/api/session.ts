/** A command within a program that imports this package: its log and its signal, without effects on the process. */

import type { CriuSocket } from '../criu/socket.js';
import { openCriuSocket } from '../daemon/criu-socket.js';
import type { Session } from '../daemon/session.js';
import { openWorkDir } from '../daemon/work-dir.js';
import { setNonBlocking } from '../libc/pipes.js';
import { type Checked, checkOptions } from '../options/check.js';
import type { Options } from '../options/resolve.js';
import type { ProgressEvents } from '../report/progress.js';
import { codeOf, describeError, UsageError } from '../runtime/errors.js';
import { GivenFds } from './given-fds.js';
import { describe } from './options.js';
import type { Common, Logger, ProgressEvent } from './types.js';

/** Starts the command of `options`; `socketName` is the name of its socket for CRIU in the work dir. */
export async function openSession(
	options: Options,
	socketName: string | undefined,
	{ log = {}, signal, onProgress }: Common,
): Promise<Session> {
	const given = new GivenFds(options);
	const { way, handedOver, workDir } = await begin(options, socketName, given);
	if (handedOver) setNonBlocking(handedOver.fd);
	let socket: CriuSocket | undefined;
	let isReady = false;
	return {
		workDir,
		get way() {
			signal?.throwIfAborted();
			given.streamTaken();
			return way;
		},
		log: {
			error: logTo(log, 'error'),
			warn: logTo(log, 'warn'),
			info: logTo(log, 'info'),
			debug: logTo(log, 'debug'),
		},
		...(signal && { signal }),
		describe,
		openCriuSocket(onCriu) {
			socket = openCriuSocket(
				{ workDir, socketName: socketName!, handedOver, clients: options.criuClients },
				(pid) => {
					given.criuTaken();
					onCriu(pid);
				},
			);
			if (handedOver?.kind === 'listening') given.criuTaken();
			return socket;
		},
		async ready() {
			if (!isReady) notify(onProgress, 'ready');
			isReady = true;
		},
		async close() {
			socket?.close();
			given.close();
		},
	};
}

/** Nothing has been created before this, so every error here is a usage error, unless a socket is in use. */
async function begin(
	options: Options,
	socketName: string | undefined,
	given: GivenFds,
): Promise<Checked & { workDir: string }> {
	const start = { socketName, activated: undefined, passesOn: false, embedded: true };
	try {
		const checked = await checkOptions(options, start);
		return { ...checked, workDir: openWorkDir(options) };
	} catch (error) {
		if (codeOf(error) === 'SOCKET_IN_USE') given.close();
		throw codeOf(error) === 'FAILED' ? new UsageError(describeError(error)) : error;
	}
}

/** The events that a program is notified of. */
export function progressOf({ onProgress }: Common): ProgressEvents {
	return {
		socketInit: () => notify(onProgress, 'socket-init'),
		checkpointStart: () => notify(onProgress, 'checkpoint-start'),
		transferred() {},
	};
}

function logTo(log: Logger, level: keyof Logger): (message: string) => void {
	return (message) => notify((text: string) => log[level]?.(text), message);
}

/** An error of a listener must not end a dump, so it is ignored. */
function notify<T extends string | ProgressEvent>(listener: ((what: T) => void) | undefined, what: T): void {
	try {
		listener?.(what);
	} catch {}
}

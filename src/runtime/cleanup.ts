/**
 * What must not outlive this process: sockets, temporary files, a pidfile. Whoever makes such a file registers it here,
 * so that every end but SIGKILL removes it; what SIGKILL leaves, the next start replaces.
 */
import { unlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { exitNow } from '../libc/calls.js';
import { describeError } from './errors.js';

const paths = new Set<string>();
const callbacks = new Set<() => void>();

/**
 * Registers the file at `path` (absolute): before it is made where the name is this process's own, otherwise as soon as the
 * file is surely not somebody else's.
 */
export function registerCleanup(path: string): void {
	paths.add(path);
}

/** The file at `path` was removed, renamed, or is meant to stay. */
export function unregisterCleanup(path: string): void {
	paths.delete(path);
}

/** Removes the file at `path`, and forgets it. */
export function removeRegistered(path: string): void {
	paths.delete(path);
	try {
		unlinkSync(path);
	} catch {
		// It was not made yet, or somebody removed it: either way it is not there.
	}
}

/** Calls `callback` at an end that is not the command's own: it may not wait for anything. Returns how to take it back. */
export function onSuddenExit(callback: () => void): () => void {
	callbacks.add(callback);
	return () => callbacks.delete(callback);
}

function removeAll(): void {
	for (const callback of callbacks) {
		try {
			callback();
		} catch {
			// The others count on their turn.
		}
	}
	callbacks.clear();
	for (const path of paths) removeRegistered(path);
}

/** Ends the process at once with `status`, whatever is going on in it; nothing registered here stays behind. */
export function exitCleanly(status: number): never {
	removeAll();
	exitNow(status);
	process.exit(status);
}

let watching = false;

/**
 * From now on signals and unexpected errors end the process in order: status 128 + signal, or 1.
 * @param report told of an unexpected error, as one line
 */
export function installExitHandlers(report: (line: string) => void): void {
	if (watching) return;
	watching = true;
	for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
		process.on(signal, () => exitCleanly(128 + constants.signals[signal]));
	}
	for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
		process.on(event, (error: unknown) => {
			report(describeError(error));
			exitCleanly(1);
		});
	}
	process.on('exit', removeAll);
}

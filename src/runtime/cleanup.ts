/**
 * Files that must not outlive this process: sockets, temporary files, a pidfile. The module that creates such a file
 * registers it here, so that it is removed at every end but SIGKILL; after SIGKILL the next start replaces it.
 */
import { unlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { exitNow } from '../libc/calls.js';
import { describeError } from './errors.js';

const paths = new Set<string>();
const callbacks = new Set<() => void>();

/**
 * Registers the file at `path` (absolute): before it is created where the name is used by this process only, otherwise as
 * soon as the file is certain to be this process's own.
 */
export function registerCleanup(path: string): void {
	paths.add(path);
}

/** The file at `path` was removed, renamed, or is meant to stay. */
export function unregisterCleanup(path: string): void {
	paths.delete(path);
}

/** Removes and unregisters the file at `path`. */
export function removeRegistered(path: string): void {
	paths.delete(path);
	try {
		unlinkSync(path);
	} catch {
		// The file was not created yet, or was removed already.
	}
}

/**
 * Calls `callback` when the process ends by a signal or an unexpected error: it may not wait for anything. Returns a
 * function that removes it.
 */
export function onSuddenExit(callback: () => void): () => void {
	callbacks.add(callback);
	return () => callbacks.delete(callback);
}

function removeAll(): void {
	for (const callback of callbacks) {
		try {
			callback();
		} catch {
			// The other callbacks must still run.
		}
	}
	callbacks.clear();
	for (const path of paths) removeRegistered(path);
}

/** Ends the process at once with `status`, whatever it is doing, after removing everything that is registered here. */
export function exitCleanly(status: number): never {
	removeAll();
	exitNow(status);
	process.exit(status);
}

let installed = false;

/**
 * From now on signals and unexpected errors end the process after its clean-up, with status 128 + signal, or 1.
 * @param report called with an unexpected error, as one line
 */
export function installExitHandlers(report: (line: string) => void): void {
	if (installed) return;
	installed = true;
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

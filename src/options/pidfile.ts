/** Detects an existing pidfile: it belongs to a running process, or a process that was killed has left it. */
import { lstatSync, readFileSync } from 'node:fs';
import { explained } from '../libc/errno.js';

/** Throws where a file at `path` (absolute) exists; the error names its process and the cure. */
export function refusePidfile(path: string): void {
	const look = () => lstatSync(path, { throwIfNoEntry: false });
	if (explained(`cannot write the pidfile ${path}`, look))
		throw new Error(`the pidfile ${path} exists${ownerOf(path)}`);
}

function ownerOf(path: string): string {
	let pid = 0;
	try {
		pid = Number(readFileSync(path, 'utf8'));
	} catch {
		// It is a directory, or has been removed meanwhile.
	}
	if (!Number.isSafeInteger(pid) || pid < 1) return ': remove it, or choose another';
	try {
		process.kill(pid, 0);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === 'ESRCH')
			return `, and its process ${pid} is gone: remove it`;
	}
	return `, and process ${pid} is running: end it, or choose another`;
}

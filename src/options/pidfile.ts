/** Whose a pidfile is: one that is there already belongs to somebody, or is what a crash has left. */
import { lstatSync, readFileSync } from 'node:fs';
import { explained } from '../libc/errno.js';

/** Throws where a file at `path` (absolute) is there already, with whose it is and what to do about it. */
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
		// A directory, or gone by now.
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

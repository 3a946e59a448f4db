/** The pidfile: there whole or not at all, and of one process only. */
import { linkSync, readFileSync, writeFileSync } from 'node:fs';
import { errnoText } from '../libc/errno.js';
import { leaves, remove } from '../run/leftovers.js';

/** Writes this process's id to `path` (absolute), which must not be there yet. It is a leftover: see leftovers.ts. */
export function writePidfile(path: string): void {
	// link(2) fails where a rename would replace, and whoever finds the name finds the number in it.
	const fresh = `${path}.${process.pid}.new`;
	leaves(fresh);
	try {
		writeFileSync(fresh, `${process.pid}\n`, { mode: 0o644 });
		linkSync(fresh, path);
		leaves(path);
	} catch (error) {
		const { code, errno } = error as NodeJS.ErrnoException;
		if (code === 'EEXIST') throw new Error(`the pidfile ${path} exists${ownerOf(path)}`);
		throw new Error(`cannot write the pidfile ${path}: ${errnoText(errno ?? 0)}`);
	} finally {
		remove(fresh);
	}
}

/** Whose it is, and what to do about it. */
function ownerOf(path: string): string {
	let pid = 0;
	try {
		pid = Number(readFileSync(path, 'utf8'));
	} catch {
		// A folder, or gone by now.
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

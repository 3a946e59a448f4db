/** The pidfile: there whole or not at all, and of one process only. */
import { linkSync, writeFileSync } from 'node:fs';
import { errnoOf, errnoText } from '../libc/errno.js';
import { refusePidfile } from '../options/pidfile.js';
import { registerCleanup, removeRegistered } from '../runtime/cleanup.js';

/** Writes this process's id to `path` (absolute), which must not be there yet. It is a leftover: see leftovers.ts. */
export function writePidfile(path: string): void {
	// link(2) fails where a rename would replace, and whoever finds the name finds the number in it.
	const fresh = `${path}.${process.pid}.new`;
	registerCleanup(fresh);
	try {
		writeFileSync(fresh, `${process.pid}\n`, { mode: 0o644 });
		linkSync(fresh, path);
		registerCleanup(path);
	} catch (error) {
		// Another service was quicker.
		if ((error as NodeJS.ErrnoException).code === 'EEXIST') refusePidfile(path);
		throw new Error(`cannot write the pidfile ${path}: ${errnoText(errnoOf(error))}`);
	} finally {
		removeRegistered(fresh);
	}
}

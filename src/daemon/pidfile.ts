/** The pidfile: created atomically with its content, and never replaced. */
import { linkSync, writeFileSync } from 'node:fs';
import { errnoOf, errnoText } from '../libc/errno.js';
import { refusePidfile } from '../options/pidfile.js';
import { registerCleanup, removeRegistered } from '../runtime/cleanup.js';

/**
 * Writes this process's id to `path` (absolute), which must not exist yet, and registers the file for removal
 * (runtime/cleanup.ts).
 */
export function writePidfile(path: string): void {
	// link(2) fails where a rename would replace a file, and the file has its content as soon as it has its name.
	const fresh = `${path}.${process.pid}.new`;
	registerCleanup(fresh);
	try {
		writeFileSync(fresh, `${process.pid}\n`, { mode: 0o644 });
		linkSync(fresh, path);
		registerCleanup(path);
	} catch (error) {
		// Another service has created it meanwhile.
		if ((error as NodeJS.ErrnoException).code === 'EEXIST') refusePidfile(path);
		throw new Error(`cannot write the pidfile ${path}: ${errnoText(errnoOf(error))}`);
	} finally {
		removeRegistered(fresh);
	}
}

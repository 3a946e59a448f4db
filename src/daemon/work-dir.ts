/** The work dir, which has the sockets, the pidfile and the log. CRIU gets it as its --images-dir. */
import { resolve } from 'node:path';
import { errnoOf, errnoText } from '../libc/errno.js';
import { workDirName } from '../options/directories.js';
import type { Options } from '../options/resolve.js';
import { makeDirectory } from '../runtime/make-directory.js';

/**
 * Creates the directory where it does not exist (mode 0700: its sockets give access to the memory of a process), and returns
 * its absolute path.
 */
export function openWorkDir(options: Options): string {
	const directory = resolve(options.workDir);
	try {
		makeDirectory(directory, 0o700);
	} catch (error) {
		const { what, option } = workDirName(options);
		throw new Error(
			`cannot make ${what} ${directory}: ${errnoText(errnoOf(error))}; choose another ${option}`,
		);
	}
	return directory;
}

/** The work dir: where sockets, the pidfile and the log are. CRIU gets it as its --images-dir. */
import { resolve } from 'node:path';
import { errnoOf, errnoText } from '../libc/errno.js';
import { workDirName } from '../options/directories.js';
import type { Options } from '../options/resolve.js';
import { makeDirectory } from '../runtime/make-directory.js';

/** Makes the folder where it is not there (mode 0700: its sockets take a whole process), and returns its absolute path. */
export function openWorkDir(options: Options): string {
	const folder = resolve(options.workDir);
	try {
		makeDirectory(folder, 0o700);
	} catch (error) {
		const { what, option } = workDirName(options);
		throw new Error(`cannot make ${what} ${folder}: ${errnoText(errnoOf(error))}; choose another ${option}`);
	}
	return folder;
}

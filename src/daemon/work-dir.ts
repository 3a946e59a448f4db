/** The work dir: where sockets, the pidfile and the log are. CRIU gets it as its --images-dir. */
import { closeSync, openSync } from 'node:fs';
import { resolve } from 'node:path';
import { O_TMPFILE, O_WRONLY } from '../libc/constants.js';
import { errnoText } from '../libc/errno.js';
import { makeFolder } from '../libc/make-folder.js';

const refusals = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EDQUOT']);

/** Makes the folder where it is not there (mode 0700: its sockets take a whole process), and returns its absolute path. */
export function openWorkDir(path: string): string {
	const folder = resolve(path);
	try {
		makeFolder(folder, 0o700);
	} catch (error) {
		const { code, errno } = error as NodeJS.ErrnoException;
		if (code === 'EEXIST' || code === 'ENOTDIR')
			throw new Error(`the work dir ${folder} is not a folder: choose another --work-dir`);
		throw new Error(
			`cannot make the work dir ${folder}: ${errnoText(errno ?? 0)}; choose another --work-dir`,
		);
	}
	return folder;
}

/** Throws where no file can be made in `folder`: better now than when the image has been read. */
export function checkWritable(folder: string): void {
	try {
		// A file without a name leaves nothing behind. access(2) would ask for the real user, without its capabilities.
		closeSync(openSync(folder, O_WRONLY | O_TMPFILE, 0o600));
	} catch (error) {
		const { code, errno } = error as NodeJS.ErrnoException;
		// File systems that have no such files say EISDIR or EOPNOTSUPP.
		if (!refusals.has(code!)) return;
		throw new Error(
			`cannot write in the work dir ${folder}: ${errnoText(errno ?? 0)}; choose another --work-dir`,
		);
	}
}

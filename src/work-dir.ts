/** The work dir: where sockets, the pidfile and the log are. CRIU gets it as its --images-dir. */
import { accessSync, constants, mkdirSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { errnoText } from './libc/errno.js';

/** Makes the folder where it is not there (mode 0700: its sockets take a whole process), and returns its absolute path. */
export function openWorkDir(path: string): string {
	const folder = resolve(path);
	try {
		if (statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return folder;
		mkdirSync(folder, { recursive: true, mode: 0o700 });
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
		accessSync(folder, constants.W_OK | constants.X_OK);
	} catch (error) {
		const reason = errnoText((error as NodeJS.ErrnoException).errno ?? 0);
		throw new Error(`cannot write in the work dir ${folder}: ${reason}; choose another --work-dir`);
	}
}

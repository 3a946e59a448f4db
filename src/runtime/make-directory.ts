/** mkdir -p. Node's own never ends where the parent exists and the kernel still returns ENOENT, as under /proc. */
import { mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/** Creates the directory at `path`, and its parents, where they do not exist. Throws errors of Node's. */
export function makeDirectory(path: string, mode = 0o777): void {
	const directory = resolve(path);
	if (isDirectory(directory)) return;
	const parent = dirname(directory);
	if (parent !== directory) makeDirectory(parent, mode);
	try {
		mkdirSync(directory, mode);
	} catch (error) {
		// Another process may have created it meanwhile.
		if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !isDirectory(directory)) throw error;
	}
}

function isDirectory(path: string): boolean {
	return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

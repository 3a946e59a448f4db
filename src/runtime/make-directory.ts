/** mkdir -p. Node's own goes round for ever where the parent is there and the kernel still says ENOENT, as under /proc. */
import { mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/** Makes the folder at `path`, and those above it, where they are not there. Throws errors of Node's. */
export function makeDirectory(path: string, mode = 0o777): void {
	const folder = resolve(path);
	if (isDirectory(folder)) return;
	const parent = dirname(folder);
	if (parent !== folder) makeDirectory(parent, mode);
	try {
		mkdirSync(folder, mode);
	} catch (error) {
		// Somebody else may have made it meanwhile.
		if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !isDirectory(folder)) throw error;
	}
}

function isDirectory(path: string): boolean {
	return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

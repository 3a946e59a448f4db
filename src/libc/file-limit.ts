/** The limit on open files, and the hint for an error where it is too low. */
import { getrlimit, setrlimit } from './calls.js';
import { RLIMIT_NOFILE } from './constants.js';
import { cures, EMFILE } from './errno.js';

/** Assumed where the limit cannot be read: the default of most systems. */
const USUAL_LIMIT = 1024;

/** Raises this process's soft limit on open files to the hard limit; returns the limit that then applies. */
export function raiseFileLimit(): number {
	const limits = new BigUint64Array(new ArrayBuffer(16));
	if (getrlimit(RLIMIT_NOFILE, limits) < 0) return USUAL_LIMIT;
	if (limits[0]! < limits[1]!) {
		limits[0] = limits[1]!;
		setrlimit(RLIMIT_NOFILE, limits);
		getrlimit(RLIMIT_NOFILE, limits);
	}
	return Number(limits[0]!);
}

/** The cure for EMFILE. */
export function fileLimitHint(): string {
	return `this process may have ${raiseFileLimit()} files open: allow more with ulimit -n`;
}

cures.set(EMFILE, fileLimitHint);

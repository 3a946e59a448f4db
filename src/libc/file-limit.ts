/** How many files this process may have open, and what to say where that is too few. */
import { getrlimit, setrlimit } from './calls.js';
import { RLIMIT_NOFILE } from './constants.js';
import { cures, EMFILE } from './errno.js';

/** Where the limit cannot be asked for: what most systems begin with. */
const USUAL_LIMIT = 1024;

/** Raises this process's limit on open files as far as it may by itself; returns how many it may have. */
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

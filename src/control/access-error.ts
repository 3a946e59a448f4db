/** The error for a control socket, or the images directory that it is in, that this process has no access to. */
import { lstatSync, readFileSync } from 'node:fs';
import { getSystemErrorMap } from 'node:util';

/** For messages: `nobody (uid 65534)`, or the number alone where the system has no name for it. */
function userOf(uid: number): string {
	let names = '';
	try {
		names = readFileSync('/etc/passwd', 'utf8');
	} catch {
		// A container may have none.
	}
	const entry = names.split('\n').find((line) => line.split(':')[2] === String(uid));
	return entry ? `${entry.split(':')[0]} (uid ${uid})` : `uid ${uid}`;
}

/** An error with the reason (`errno`) why `what`, at `path`, cannot be used, the user that owns it, and the cure. */
export function accessError(what: string, path: string, errno: number): Error {
	const [code, text] = getSystemErrorMap().get(-Math.abs(errno)) ?? [`error ${errno}`, 'it failed'];
	let owner = '';
	try {
		owner = `; it belongs to ${userOf(lstatSync(path).uid)}`;
	} catch {
		// It is in a directory without access as well.
	}
	const self = userOf(process.geteuid!());
	return new Error(
		`${what}: ${text} (${code})${owner}, and this script runs as ${self}: run CRIU and the streamer as the same user`,
	);
}

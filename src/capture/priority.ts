/**
 * Scheduling priority of a capture that copies. Between CRIU's closing of its last pipe and the application's going on lie milliseconds, in
 * which what is left in the pipe must be copied; on a busy machine an ordinary process may not get to run in that time.
 */
import { constants, getPriority, setPriority } from 'node:os';

/** Raises the priority of this process as far as it may; returns what takes that back. */
export function raisePriority(): () => void {
	try {
		const before = getPriority();
		setPriority(constants.priority.PRIORITY_HIGHEST);
		return () => setPriority(before);
	} catch {
		// Not a privileged user: it stays what it is, and the action script is the sure way.
		return () => {};
	}
}

/**
 * Scheduling priority of a capture that copies. CRIU resumes the application milliseconds after it has closed its last pipe,
 * and by then the rest of the pipe must be copied; on a busy machine an ordinary process may not run in that time.
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

/**
 * Names of the control sockets. One for each direction: a capture and a serve may share a work dir.
 */

/** The streamer that listens: that of a dump, or that of a restore. */
export type Role = 'capture' | 'serve';

/** The file name, in the work dir, of the control socket of `role`. */
export function controlSocketName(role: Role): string {
	return `streamer-${role}-control.sock`;
}

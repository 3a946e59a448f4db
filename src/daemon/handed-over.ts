/** A socket for CRIU from systemd's socket activation, which starts a service for its first client. */

/** The first descriptor that systemd passes (SD_LISTEN_FDS_START). */
const FIRST_FD = 3;
const variables = ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES'];

/**
 * The descriptor that systemd's variables assign to this process, if any. The variables are removed, as they are not for
 * children. Throws where there is more than one.
 */
export function takeActivation(): number | undefined {
	const [pid, fds] = variables.map((name) => process.env[name]);
	for (const name of variables) delete process.env[name];
	if (Number(pid) !== process.pid || fds === undefined) return undefined;
	if (fds !== '1') throw new Error(`LISTEN_FDS is ${fds}: one socket is needed, for CRIU`);
	return FIRST_FD;
}

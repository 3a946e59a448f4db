/** An sshd of one's own on loopback: keys, its configuration, and that of a client for which `target` is this host. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';

/** The paths of the two configurations. */
export interface SshdFiles {
	server: string;
	client: string;
}

/**
 * Makes the directory with keys and configurations.
 * @param keygen the path of ssh-keygen
 * @param extra further lines for the server
 */
export function makeSshd(directory: string, port: number, keygen: string, extra: string[] = []): SshdFiles {
	mkdirSync(directory, { mode: 0o700 });
	for (const name of ['host', 'user'])
		execFileSync(keygen, ['-q', '-t', 'ed25519', '-N', '', '-f', join(directory, name)]);
	// sshd requires this directory when it runs as root.
	if (process.getuid!() === 0) mkdirSync('/run/sshd', { recursive: true });
	const files = { server: join(directory, 'sshd_config'), client: join(directory, 'ssh_config') };
	const server = [
		'ListenAddress 127.0.0.1',
		`Port ${port}`,
		`HostKey ${directory}/host`,
		`AuthorizedKeysFile ${directory}/user.pub`,
		'PidFile none',
		'StrictModes no',
		'UsePAM no',
		'PasswordAuthentication no',
		...extra,
	];
	const client = [
		'Host target',
		'HostName 127.0.0.1',
		`Port ${port}`,
		`User ${userInfo().username}`,
		`IdentityFile ${directory}/user`,
		'IdentitiesOnly yes',
		'BatchMode yes',
		'StrictHostKeyChecking accept-new',
		`UserKnownHostsFile ${directory}/known_hosts`,
		'LogLevel ERROR',
	];
	writeFileSync(files.server, `${server.join('\n')}\n`);
	writeFileSync(files.client, `${client.join('\n')}\n`);
	return files;
}

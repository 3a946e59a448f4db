/** Where the bench works: directories in memory and on a disk, a free port, an sshd, a certificate, images to replay. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { userInfo } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { loadPath } from './load.js';
import { missing, pathOf } from './readers.js';

/** The variables of bench/readers.ts, but for IMAGE. */
export type Place = Record<'LOAD' | 'MEMORY' | 'DISK' | 'PORT' | 'SSH' | 'TLS' | 'PATH', string>;

export const ours = [process.execPath, fileURLToPath(new URL('../dist/bin.js', import.meta.url))];

/** Makes the place; it is removed when this process ends. */
export async function makePlace(memory: string, disk: string): Promise<Place> {
	mkdirSync(disk, { recursive: true });
	const directories = [memory, disk].map((parent) => mkdtempSync(`${parent}/bench-`));
	const [inMemory, onDisk] = directories as [string, string];
	process.on('exit', () => {
		for (const directory of directories) rmSync(directory, { recursive: true, force: true });
	});
	for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(1));
	// sshd is where only root looks.
	process.env.PATH += ':/usr/local/sbin:/usr/sbin:/sbin';
	return {
		LOAD: loadPath,
		MEMORY: inMemory,
		DISK: onDisk,
		PORT: String(await freePort()),
		SSH: await startSshd(inMemory),
		TLS: makeCertificate(inMemory),
		PATH: process.env.PATH!,
	};
}

/** Replaces `$NAME` in an address or a path. */
export function expand(text: string, place: Place): string {
	return text.replace(/\$([A-Z]+)/g, (_, name: keyof Place) => place[name]);
}

async function freePort(): Promise<number> {
	const server = createServer().listen(0, '127.0.0.1');
	await new Promise((resolve) => server.once('listening', resolve));
	const { port } = server.address() as { port: number };
	await new Promise((resolve) => server.close(resolve));
	return port;
}

/** For this host, its own authority. */
function makeCertificate(parent: string): string {
	if (!pathOf('openssl')) return '';
	const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
	const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', 'key.pem'];
	execFileSync('openssl', ['req', '-x509', '-days', '2', ...subject, ...key, '-out', 'cert.pem'], {
		cwd: parent,
		stdio: 'pipe',
	});
	return parent;
}

/** An sshd with keys of its own; returns the configuration of a client, where `target` is this host, or '' without one. */
async function startSshd(parent: string): Promise<string> {
	const server = pathOf('sshd');
	if (!server || missing({ needs: ['ssh', 'ssh-keygen'] }).length) return '';
	const directory = `${parent}/ssh`;
	mkdirSync(directory, { mode: 0o700 });
	for (const name of ['host', 'user'])
		execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', `${directory}/${name}`]);
	// sshd requires this directory when it runs as root.
	if (process.getuid!() === 0) mkdirSync('/run/sshd', { recursive: true });
	const port = await freePort();
	const write = (name: string, lines: string[]) =>
		writeFileSync(`${directory}/${name}`, `${lines.join('\n')}\n`);
	write('server', [
		'ListenAddress 127.0.0.1',
		`Port ${port}`,
		`HostKey ${directory}/host`,
		`AuthorizedKeysFile ${directory}/user.pub`,
		'PidFile none',
		'StrictModes no',
		'UsePAM no',
	]);
	write('client', [
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
	]);
	const sshd = spawn(server, ['-D', '-f', `${directory}/server`], { stdio: 'ignore' });
	process.on('exit', () => sshd.kill());
	for (let tries = 0; tries < 50; tries++) {
		if (spawnSync('ssh', ['-F', `${directory}/client`, 'target', 'true']).status === 0)
			return `${directory}/client`;
		await delay(100);
	}
	return '';
}

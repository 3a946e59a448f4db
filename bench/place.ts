/** Where the bench works: directories in memory and on a disk, a free port, an sshd, a certificate, images to replay. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { makeCertificate } from '../test/support/certificate.js';
import { freePort } from '../test/support/free-port.js';
import { makeSshd } from '../test/support/sshd.js';
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
	const openssl = pathOf('openssl');
	if (openssl) makeCertificate(inMemory, openssl);
	return {
		LOAD: loadPath,
		MEMORY: inMemory,
		DISK: onDisk,
		PORT: String(await freePort()),
		SSH: await startSshd(inMemory),
		TLS: inMemory,
		PATH: process.env.PATH!,
	};
}

/** Replaces `$NAME` in an address or a path. */
export function expand(text: string, place: Place): string {
	return text.replace(/\$([A-Z]+)/g, (_, name: keyof Place) => place[name]);
}

/** An sshd with keys of its own; returns the configuration of a client, where `target` is this host, or '' without one. */
async function startSshd(parent: string): Promise<string> {
	const program = pathOf('sshd');
	if (!program || missing({ needs: ['ssh', 'ssh-keygen'] }).length) return '';
	const { server, client } = makeSshd(`${parent}/ssh`, await freePort(), 'ssh-keygen');
	const sshd = spawn(program, ['-D', '-f', server], { stdio: 'ignore' });
	process.on('exit', () => sshd.kill());
	for (let tries = 0; tries < 50; tries++) {
		if (spawnSync('ssh', ['-F', client, 'target', 'true']).status === 0) return client;
		await delay(100);
	}
	return '';
}

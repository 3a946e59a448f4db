/** The real servers that the partners' commands use, on loopback, for the duration of a test. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { afterwards } from '../support/cleanup.js';
import { freePort } from '../support/free-port.js';
import { tool } from '../support/tools.js';
import { until } from '../support/until.js';
import type { Stage } from './examples.js';

/** Makes `ssh target` connect to an sshd of the test, with its own keys and configuration and the stage's PATH. */
export async function startSshd(stage: Stage): Promise<void> {
	const directory = join(stage.directory, 'ssh');
	mkdirSync(directory, { mode: 0o700 });
	for (const name of ['host', 'user']) {
		const made = spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(directory, name)]);
		if (made.status !== 0) throw new Error(`ssh-keygen: ${made.stderr}`);
	}
	// sshd requires this directory when it runs as root.
	if (process.getuid!() === 0) mkdirSync('/run/sshd', { recursive: true });
	const port = await freePort();
	const given = ['PATH', 'STAND_IN_IMAGE', 'STAND_IN_LOG', ...(stage.env.CRIU ? ['CRIU'] : [])];
	const server = [
		'ListenAddress 127.0.0.1',
		`Port ${port}`,
		`HostKey ${directory}/host`,
		`AuthorizedKeysFile ${directory}/user.pub`,
		'PidFile none',
		'StrictModes no',
		'UsePAM no',
		'PasswordAuthentication no',
		`SetEnv ${given.map((name) => `"${name}=${stage.env[name]}"`).join(' ')}`,
	];
	writeFileSync(join(directory, 'sshd_config'), `${server.join('\n')}\n`);
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
	writeFileSync(join(directory, 'ssh_config'), `${client.join('\n')}\n`);
	stage.provide('ssh', tool('ssh'), '-F', join(directory, 'ssh_config'));
	const log = join(directory, 'log');
	const sshd = spawn(tool('sshd'), ['-D', '-f', join(directory, 'sshd_config'), '-E', log], {
		stdio: 'ignore',
	});
	afterwards(() => sshd.kill('SIGTERM'));
	await started('sshd', sshd, log, /Server listening/);
}

async function started(what: string, server: ChildProcess, log: string, sign: RegExp): Promise<void> {
	await until(`${what} to listen`, () => {
		const text = existsSync(log) ? readFileSync(log, 'utf8') : '';
		if (server.exitCode !== null) throw new Error(`${what} ended with ${server.exitCode}: ${text}`);
		return sign.test(text);
	});
}

/** Makes `s3cmd` use a store of the test, which has the bucket `images`. */
export async function startS3(stage: Stage): Promise<void> {
	const { default: S3rver } = await import('s3rver');
	const directory = join(stage.directory, 's3');
	const store = new S3rver({
		address: '127.0.0.1',
		port: 0,
		silent: true,
		directory,
		configureBuckets: [{ name: 'images', configs: [] }],
	});
	const { port } = await store.run();
	afterwards(() => store.close());
	const config = join(stage.directory, 's3cfg');
	const lines = [
		'[default]',
		'access_key = S3RVER',
		'secret_key = S3RVER',
		`host_base = 127.0.0.1:${port}`,
		`host_bucket = 127.0.0.1:${port}`,
		'use_https = False',
	];
	writeFileSync(config, `${lines.join('\n')}\n`);
	stage.provide('s3cmd', tool('s3cmd'), '-c', config);
}

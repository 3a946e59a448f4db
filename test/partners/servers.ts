/** The real servers that the partners' commands use, on loopback, for the duration of a test. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterwards } from '../support/cleanup.js';
import { freePort } from '../support/free-port.js';
import { makeSshd } from '../support/sshd.js';
import { tool } from '../support/tools.js';
import { until } from '../support/until.js';
import type { Stage } from './examples.js';

/** Makes `ssh target` connect to an sshd of the test, with its own keys and configuration and the stage's PATH. */
export async function startSshd(stage: Stage): Promise<void> {
	const directory = join(stage.directory, 'ssh');
	const port = await freePort();
	const given = ['PATH', 'STAND_IN_IMAGE', 'STAND_IN_LOG', ...(stage.env.CRIU ? ['CRIU'] : [])];
	const environment = `SetEnv ${given.map((name) => `"${name}=${stage.env[name]}"`).join(' ')}`;
	const { server, client } = makeSshd(directory, port, tool('ssh-keygen'), [environment]);
	stage.provide('ssh', tool('ssh'), '-F', client);
	const log = join(directory, 'log');
	const sshd = spawn(tool('sshd'), ['-D', '-f', server, '-E', log], {
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

// Addresses and the files with secrets are checked before the wait for the other side.
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { pipe } from '../support/pipe.js';
import { StandInDump } from '../support/stand-in.js';
import { ours, type Program, Streamer } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { refusalOf } from './start.js';

const test = suite('connections, at the start', { together: 3 });

const addresses: [args: string[], message: RegExp][] = [
	[['--connect', 'typo'], /^--connect typo: no address that is known; it is tcp:\/\/host:port/],
	[['--listen', 'tcp://:0'], /^--listen tcp:\/\/:0: no port from 1 to 65535/],
	[['--listen', 'unix:a', '--listen', 'unix:a'], /^--listen unix:a is given twice/],
	[['--connect', 'unix:a', '--connect', 'unix:b', '--shards', '17'], /are 34; 32 are the most/],
	[['--connect', 'unix:a', '--listen', 'unix:b'], /exclude each other/],
	[['--shards', '2'], /^--shards is for connections/],
	[['--tls-ca', 'ca.pem'], /^--tls-ca is for connections/],
	[['--listen', 'unix:a', '--tls-ca', 'ca.pem'], /needs --tls-cert and --tls-key/],
	[['--connect', 'unix:a', '--tls-key', 'key.pem'], /^--tls-cert and --tls-key belong together/],
];
for (const [args, message] of addresses) {
	test(`${args.join(' ')} is wrong usage`, async () => {
		for (const command of [['capture'], ['extract', '-D', 'images'], ['serve', '--daemon']]) {
			const more = ['-W', 'work', '--pidfile', 'pid', '-o', 'log'];
			assert.match(await refusalOf({ args: [...more, ...args, ...command], code: 2 }), message);
		}
	});
}

let made: string | undefined;
test.after(() => {
	if (made) rmSync(made, { recursive: true });
});

/** A directory with keys, certificates, and what is neither, for a test alone. */
function secrets(): string {
	const cwd = temporaryDirectory();
	cpSync((made ??= makeSecrets()), cwd, { recursive: true });
	return cwd;
}

function makeSecrets(): string {
	const cwd = mkdtempSync(join(tmpdir(), 'criu-streamer-secrets-'));
	for (const name of ['one', 'two']) {
		execFileSync(
			'openssl',
			[
				...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
				...['-subj', '/CN=localhost', '-keyout', `${name}.key`, '-out', `${name}.pem`],
			],
			{ cwd, stdio: 'pipe', timeout: 60_000 },
		);
	}
	writeFileSync(join(cwd, 'text'), 'no secret of any kind\n', { mode: 0o600 });
	writeFileSync(join(cwd, 'open'), 'a secret\n');
	chmodSync(join(cwd, 'open'), 0o644);
	writeFileSync(join(cwd, 'empty'), '\n', { mode: 0o600 });
	return cwd;
}

const files: [what: string, args: string[], message: RegExp][] = [
	[
		'a token file that is not there',
		['--token-file', 'none'],
		/^--token-file cannot be read: none: no such file or directory \(ENOENT\)$/,
	],
	[
		'a token file that is open to others',
		['--token-file', 'open'],
		/is open to others than its owner: chmod 600/,
	],
	['a token file without a token', ['--token-file', 'empty'], /^--token-file empty is empty/],
	['a directory as token file', ['--token-file', '.'], /^--token-file \. is a directory/],
	[
		'a CA that is not there',
		['--tls-cert', 'one.pem', '--tls-key', 'one.key', '--tls-ca', 'none'],
		/^--tls-ca cannot be read: none: no such file or directory \(ENOENT\)$/,
	],
	[
		'a file that is not a certificate',
		['--tls-cert', 'text', '--tls-key', 'one.key'],
		/^--tls-cert holds no certificate \(PEM\)/,
	],
	[
		'a file that is not a key',
		['--tls-cert', 'one.pem', '--tls-key', 'text'],
		/^--tls-key and --tls-cert cannot be used: /,
	],
	[
		'a key of another certificate',
		['--tls-cert', 'one.pem', '--tls-key', 'two.key'],
		/^--tls-key and --tls-cert cannot be used: the key is not that of the certificate$/,
	],
];
for (const [what, args, message] of files) {
	test(`${what} is refused`, async () => {
		const cwd = secrets();
		const sides: [way: string, ...command: string[]][] = [
			['--listen', 'capture'],
			['--connect', 'extract'],
			['--listen', 'serve', '--daemon'],
		];
		for (const [way, ...command] of sides) {
			const all = ['-W', 'work', '--pidfile', 'pid', way, 'unix:socket', ...args, ...command];
			assert.match(await refusalOf({ args: all, code: 1, cwd }), message);
		}
	});
}

test('a token that can be read only once reaches the daemon', async () => {
	const cwd = temporaryDirectory();
	const shell: Program = ['bash', '-c', '"$@" --token-file <(echo a secret)', 'bash', ...ours];
	writeFileSync(join(cwd, 'token'), 'a secret\n', { mode: 0o600 });
	const receiver = new Streamer(
		['-d', '-W', 'to', '--pidfile', 'pid', '--listen', 'unix:socket', '-D', 'images', 'extract'],
		{ cwd, program: shell },
	);
	await receiver.ends();
	const sender = new Streamer(
		['-W', 'from', '--connect', 'unix:socket', '--token-file', 'token', 'capture'],
		{
			cwd,
			stdout: pipe().writeEnd,
		},
	);
	const dump = await StandInDump.connect({ work: join(cwd, 'from'), process: sender });
	await dump.finish();
	await sender.ends();
});

test.run();

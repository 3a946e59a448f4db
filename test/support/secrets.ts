/** What a listener takes for a right to connect. */
import { execFileSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDirectory } from './temporary.js';
import { tool } from './tools.js';

/** The path of a file for --token-file. */
export function tokenFile(text = 'secret\n', mode = 0o600): string {
	const path = join(temporaryDirectory(), 'token');
	writeFileSync(path, text);
	// The umask does not take part.
	chmodSync(path, mode);
	return path;
}

/** Options with a certificate for this host that is its own authority. */
export function selfSigned(): string[] {
	const directory = temporaryDirectory();
	execFileSync(
		tool('openssl'),
		[
			...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
			...['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
			...['-keyout', 'key.pem', '-out', 'cert.pem'],
		],
		{ cwd: directory, stdio: 'pipe' },
	);
	const cert = join(directory, 'cert.pem');
	return ['--tls-cert', cert, '--tls-key', join(directory, 'key.pem'), '--tls-ca', cert];
}

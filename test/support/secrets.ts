/** What a listener takes for a right to connect. */
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeCertificate } from './certificate.js';
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
	const { cert, key } = makeCertificate(temporaryDirectory(), tool('openssl'));
	return ['--tls-cert', cert, '--tls-key', key, '--tls-ca', cert];
}

/** A certificate for this host that is its own authority. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

/**
 * Makes it in `directory`.
 * @param openssl the path of the command
 */
export function makeCertificate(directory: string, openssl: string): { cert: string; key: string } {
	const files = { cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') };
	execFileSync(
		openssl,
		[
			...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
			...['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
			...['-keyout', files.key, '-out', files.cert],
		],
		{ stdio: 'pipe' },
	);
	return files;
}

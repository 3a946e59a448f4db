/** Certificates by openssl for both sides, and by a CA that neither trusts: made once for a file of tests. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tool } from '../support/tools.js';
import type { Given } from './drive.js';

interface Pki {
	ca: string;
	server: Given;
	client: Given;
	/** By another CA. */
	untrusted: Given;
	/** For another host. */
	elsewhere: Given;
}

let made: Pki | undefined;

/** Made for the first test that needs it: it needs openssl, and only a test can be skipped. */
export function pki(): Pki {
	if (made) return made;
	const command = tool('openssl');
	const directory = mkdtempSync(join(tmpdir(), 'criu-streamer-pki-'));
	process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
	const openssl = (...args: string[]) => execFileSync(command, args, { cwd: directory, stdio: 'pipe' });
	const authority = (name: string) =>
		openssl(
			...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
			...['-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.pem`],
		);
	const certificate = (name: string, signer: string, names: string): Given => {
		openssl(
			...['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${name}`],
			...['-addext', `subjectAltName=${names}`, '-keyout', `${name}.key`, '-out', `${name}.csr`],
		);
		openssl(
			...['x509', '-req', '-in', `${name}.csr`, '-CA', `${signer}.pem`, '-CAkey', `${signer}.key`],
			...['-CAcreateserial', '-days', '2', '-copy_extensions', 'copy', '-out', `${name}.pem`],
		);
		return { 'tls-cert': join(directory, `${name}.pem`), 'tls-key': join(directory, `${name}.key`) };
	};
	authority('ca');
	authority('otherca');
	made = {
		ca: join(directory, 'ca.pem'),
		server: certificate('server', 'ca', 'DNS:localhost,IP:127.0.0.1'),
		client: certificate('client', 'ca', 'DNS:client.example'),
		untrusted: certificate('untrusted', 'otherca', 'DNS:localhost'),
		elsewhere: certificate('elsewhere', 'ca', 'DNS:elsewhere.example'),
	};
	return made;
}

export const serverOptions = () => ({ ...pki().server, 'tls-ca': pki().ca });
export const clientOptions = () => ({ ...pki().client, 'tls-ca': pki().ca });

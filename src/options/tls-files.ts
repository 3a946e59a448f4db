/** The files of --tls-cert, --tls-key and --tls-ca, checked early: a wrong file would only show as a failed handshake. */
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { TlsFiles } from '../peer/tls-files.js';
import type { Options } from './resolve.js';

/**
 * The contents of the files (PEM). Throws where one cannot be read, has the wrong kind of content, or does not fit the
 * others.
 */
export function readTlsFiles({ tlsCert, tlsKey, tlsCa }: Options): TlsFiles {
	const files = { ...load('cert', tlsCert), ...load('key', tlsKey), ...load('ca', tlsCa) };
	check(files);
	return files;
}

function load(option: keyof TlsFiles, path: string | undefined): TlsFiles {
	if (path === undefined) return {};
	try {
		return { [option]: readFileSync(path) };
	} catch (cause) {
		throw new Error(`--tls-${option} cannot be read: ${path}`, { cause });
	}
}

function check(files: TlsFiles): void {
	for (const option of ['cert', 'ca'] as const) {
		if (files[option] && !/-----BEGIN (TRUSTED )?CERTIFICATE-----/.test(files[option].toString('latin1')))
			throw new Error(`--tls-${option} holds no certificate (PEM)`);
	}
	try {
		createSecureContext(files);
	} catch (error) {
		const { code, reason, message } = error as NodeJS.ErrnoException & { reason?: string };
		const mismatch = code === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH';
		const why = mismatch ? 'the key is not that of the certificate' : (reason ?? message);
		throw new Error(`--tls-key and --tls-cert cannot be used: ${why}`);
	}
}

/** The parameters of --connect or --listen: addresses, and the files with secrets, read once. */
import { statSync } from 'node:fs';
import { parseAddress } from '../net/address.js';
import type { LinkRequest } from '../peer/handshake.js';
import type { TlsFiles } from '../peer/tls-files.js';
import type { Options } from './resolve.js';
import { readToken } from './token.js';

/** The default of --stall-timeout for connections. */
const STALL_MILLIS = 60_000;

/**
 * The connections of the command. Throws UsageError about invalid addresses, other errors about files. With `passesOn`
 * another process reads the files again: files that can be read only once, such as a shell's <(command), are not read here.
 */
export async function checkConnections(options: Options, passesOn: boolean): Promise<LinkRequest> {
	const { listen, connect, tokenFile, stallTimeout } = options;
	const listens = listen.length > 0;
	const option = listens ? '--listen' : '--connect';
	const texts = listens ? listen : connect;
	const readable = (path: string | undefined): path is string =>
		path !== undefined && !(passesOn && readsOnce(path));
	return {
		listens,
		addresses: texts.map((text) => parseAddress(option, text)),
		shards: texts.length * options.shards,
		sends: options.command === 'capture',
		token: readable(tokenFile) ? readToken(tokenFile) : undefined,
		tls: await readTls(options, readable),
		stallMillis: stallTimeout ?? STALL_MILLIS,
	};
}

async function readTls(
	options: Options,
	readable: (path: string | undefined) => boolean,
): Promise<TlsFiles | undefined> {
	const given = [options.tlsCert, options.tlsKey, options.tlsCa].filter((path) => path !== undefined);
	if (!given.length || !given.every(readable)) return undefined;
	// Node's TLS is slow to load.
	const { readTlsFiles } = await import('./tls-files.js');
	return readTlsFiles(options);
}

function readsOnce(path: string): boolean {
	try {
		return !statSync(path).isFile();
	} catch {
		return false;
	}
}

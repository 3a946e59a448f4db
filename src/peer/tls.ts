/** TLS 1.3 over a connection, with Node's own tls: the handshake of either side, and the errors where it fails. */
import { isIP, Socket } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { buffer, read } from '../libc/calls.js';
import { EPOLLIN, poller } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import { reject } from '../peer/handshake.js';
import { TlsConnection } from '../peer/tls-connection.js';
import { clientReason, serverReason } from '../peer/tls-reasons.js';
import type { ConnectionWrapper } from '../peer/wrapper.js';
import { SocketConnection } from './connection.js';
import type { TlsFiles } from './tls-files.js';

/** The first bytes of a TLS record with a handshake, in every version. */
const RECORD_START = Buffer.of(0x16, 0x03);

/** Checks that the certificate of the other side is for the host of the address. */
export function clientWrapper(files: TlsFiles): ConnectionWrapper {
	return async (fd, name, host, deadline) => {
		const socket = connect({
			...files,
			socket: adopt(fd),
			host,
			...(isIP(host) ? {} : { servername: host }),
			minVersion: 'TLSv1.3',
		});
		await waitForSecure(socket, 'secureConnect', socket, name, deadline);
		return new TlsConnection(socket, name);
	};
}

/** Requires a certificate of the other side where there is a CA to check it. */
export function serverWrapper(files: TlsFiles): ConnectionWrapper {
	const requestCert = files.ca !== undefined;
	return async (fd, name, _host, deadline) => {
		const first = await firstBytes(fd, name, deadline);
		const raw = adopt(fd);
		raw.unshift(first);
		// A certificate that the CA did not sign is refused below, where the other side can be sent the reason.
		const server = createServer({ ...files, requestCert, rejectUnauthorized: false, minVersion: 'TLSv1.3' });
		const secure = new Promise<TLSSocket>((resolve, reject) => {
			server.once('secureConnection', resolve);
			server.once('tlsClientError', reject);
		});
		server.emit('connection', raw);
		const socket = await withDeadline(secure, raw, name, deadline, serverReason);
		const connection = new TlsConnection(socket, name);
		if (!requestCert || socket.authorized) return connection;
		const shown = Object.keys(socket.getPeerCertificate() ?? {}).length > 0;
		const reason = shown
			? `the certificate is not accepted (${socket.authorizationError}): the CA of the side that listens has to vouch for it`
			: 'a certificate is needed here: give one and its key to the side that connects';
		await reject(connection, reason);
		throw new Error(reason);
	};
}

/** Reads the first bytes of a client: one without TLS can be sent a reason only before the TLS handshake begins. */
async function firstBytes(fd: number, name: string, deadline: number): Promise<Buffer> {
	const bytes = buffer(RECORD_START.length);
	const inTime = (await waitFor(fd, EPOLLIN, { deadline })) !== 0;
	const count = inTime ? read(fd, bytes, bytes.length) : 0;
	if (count === bytes.length && !bytes.equals(RECORD_START)) {
		const reason = 'TLS is needed here: give a certificate, its key and a CA to the side that connects';
		await reject(new SocketConnection(fd, name), reason);
		throw new Error(reason);
	}
	if (count > 0) return bytes.subarray(0, count);
	poller.close(fd);
	throw new Error(inTime ? 'it went before it said anything' : 'it is silent');
}

/** `fd` as a socket of Node's, which becomes its owner. */
function adopt(fd: number): Socket {
	poller.release(fd);
	return new Socket({ fd, readable: true, writable: true });
}

async function waitForSecure(
	socket: TLSSocket,
	event: string,
	raw: Socket,
	name: string,
	deadline: number,
): Promise<void> {
	const secure = new Promise<void>((resolve, reject) => {
		socket.once(event, resolve);
		socket.once('error', reject);
		socket.once('close', () => reject(new Error('it closed the connection')));
	});
	await withDeadline(secure, raw, name, deadline, clientReason);
}

async function withDeadline<T>(
	secure: Promise<T>,
	raw: Socket,
	name: string,
	deadline: number,
	reason: (error: unknown) => string,
): Promise<T> {
	let timer: NodeJS.Timeout | undefined;
	const late = new Promise<never>((_, reject) => {
		const left = Math.max(0, deadline - Date.now());
		timer = setTimeout(() => reject(new Error('it is silent')), left);
	});
	// Later errors are consequences of the first.
	raw.on('error', () => {});
	try {
		return await Promise.race([secure, late]);
	} catch (cause) {
		raw.destroy();
		const { code } = cause as NodeJS.ErrnoException;
		throw Object.assign(new Error(`no TLS with ${name}: ${reason(cause)}`), { code });
	} finally {
		clearTimeout(timer);
		secure.catch(() => {});
	}
}

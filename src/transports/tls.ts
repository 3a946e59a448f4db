/**
 * TLS 1.3 around a connection, by Node's own tls. The stream passes this process's memory then: between it and the engine
 * stands a pipe, which a pump empties into the TLS socket, or fills from it.
 */
import { isIP, Socket } from 'node:net';
import { connect, createSecureContext, createServer, type TLSSocket } from 'node:tls';
import { buffer, read, write } from '../libc/calls.js';
import { callError, EAGAIN, EINTR, EPIPE, errnoText } from '../libc/errno.js';
import { enlargePipe, makePipe } from '../libc/pipes.js';
import { EPOLLIN, EPOLLOUT, poller } from '../libc/poller.js';
import { frame } from '../wire/frame.js';
import type { Dress } from './dress.js';
import { turnAway } from './handshake.js';
import { ready } from './sockets.js';
import { receiveFrom, Silence, SocketWire, type Wire } from './wire.js';

/** What --tls-cert, --tls-key and --tls-ca hold (PEM). */
export interface TlsFiles {
	cert?: Buffer;
	key?: Buffer;
	ca?: Buffer;
}

/** Of a TLS record with a handshake in it, whatever the version. */
const RECORD_START = Buffer.of(0x16, 0x03);
/** Encrypted at a time: sixteen records, which a socket takes at once. */
const CHUNK_BYTES = 256 << 10;
/** A closed connection has so long to send what it has. */
const LINGER_MILLIS = 2000;
const NEVER = Number.POSITIVE_INFINITY;

/** Checks that the certificate of the other side is for the host that was asked for. */
export function clientDress(files: TlsFiles): Dress {
	check(files);
	return async (fd, name, host, deadline) => {
		const socket = connect({
			...files,
			socket: own(fd),
			host,
			...(isIP(host) ? {} : { servername: host }),
			minVersion: 'TLSv1.3',
		});
		await secured(socket, 'secureConnect', socket, name, deadline);
		return new TlsWire(socket, name);
	};
}

/** Demands a certificate of the other side where there is a CA to check it. */
export function serverDress(files: TlsFiles): Dress {
	check(files);
	const requestCert = files.ca !== undefined;
	return async (fd, name, _host, deadline) => {
		const first = await firstBytes(fd, name, deadline);
		const raw = own(fd);
		raw.unshift(first);
		// One that the CA does not vouch for is refused below, where the other side can be told why.
		const server = createServer({ ...files, requestCert, rejectUnauthorized: false, minVersion: 'TLSv1.3' });
		const secure = new Promise<TLSSocket>((resolve, reject) => {
			server.once('secureConnection', resolve);
			server.once('tlsClientError', reject);
		});
		server.emit('connection', raw);
		const socket = await limited(secure, raw, name, deadline);
		const wire = new TlsWire(socket, name);
		if (!requestCert || socket.authorized) return wire;
		const shown = Object.keys(socket.getPeerCertificate() ?? {}).length > 0;
		const reason = shown
			? `the certificate is not accepted (${socket.authorizationError}): --tls-ca of this side has to vouch for it`
			: 'a certificate is needed here: give --tls-cert and --tls-key';
		await turnAway(wire, reason);
		throw new Error(reason);
	};
}

/** What a client begins with: one without TLS can only be told why as long as no TLS was tried. */
async function firstBytes(fd: number, name: string, deadline: number): Promise<Buffer> {
	const bytes = buffer(RECORD_START.length);
	const inTime = await ready(fd, EPOLLIN, deadline);
	const count = inTime ? read(fd, bytes, bytes.length) : 0;
	if (count === bytes.length && !bytes.equals(RECORD_START)) {
		const reason = 'TLS is needed here: give --tls-cert, --tls-key and --tls-ca';
		await turnAway(new SocketWire(fd, name), reason);
		throw new Error(reason);
	}
	if (count > 0) return bytes.subarray(0, count);
	poller.close(fd);
	throw new Error(inTime ? 'it went before it said anything' : 'it is silent');
}

/** Files that are none would otherwise show up as a handshake that fails. */
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

/** `fd` as a socket of Node's, which closes it. */
function own(fd: number): Socket {
	poller.release(fd);
	return new Socket({ fd, readable: true, writable: true });
}

async function secured(
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
	await limited(secure, raw, name, deadline);
}

async function limited<T>(secure: Promise<T>, raw: Socket, name: string, deadline: number): Promise<T> {
	let timer: NodeJS.Timeout | undefined;
	const late = new Promise<never>((_, reject) => {
		const left = Math.max(0, deadline - Date.now());
		timer = setTimeout(() => reject(new Error('it is silent')), left);
	});
	// What goes wrong after the first error is a consequence.
	raw.on('error', () => {});
	try {
		return await Promise.race([secure, late]);
	} catch (cause) {
		raw.destroy();
		const { code } = cause as NodeJS.ErrnoException;
		throw Object.assign(new Error(`no TLS with ${name}: ${reasonOf(cause)}`), { code });
	} finally {
		clearTimeout(timer);
		secure.catch(() => {});
	}
}

/** OpenSSL's words name its source files. */
function reasonOf(error: unknown): string {
	const { message, code, reason } = error as NodeJS.ErrnoException & { reason?: string };
	if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG')
		return 'it does not speak TLS; give --tls-cert, --tls-key and --tls-ca on both sides, or on neither';
	return code?.startsWith('ERR_SSL') && reason ? reason : message;
}

class TlsWire implements Wire {
	readonly #socket: TLSSocket;
	readonly #waiters = new Set<() => void>();
	#error: Error | undefined;
	#closed = false;
	/** Of the pipe between the engine and the pump: the engine's end, and the pump's; -1 once closed. */
	#pipe: { ours: number; theirs: number } | undefined;

	constructor(
		socket: TLSSocket,
		readonly name: string,
	) {
		this.#socket = socket;
		// A sender ends before it hears the receipt. During the handshake an end is an end.
		socket.allowHalfOpen = true;
		const news = () => {
			for (const waiter of [...this.#waiters]) waiter();
		};
		for (const event of ['readable', 'end', 'close']) socket.on(event, news);
		socket.on('error', (error) => {
			this.#error ??= error;
			news();
		});
	}

	/** Nothing more will come. */
	get #over(): boolean {
		return this.#closed || this.#error !== undefined || this.#socket.readableEnded || this.#socket.destroyed;
	}

	receive(deadline = NEVER): Promise<Buffer | undefined> {
		return receiveFrom(this.name, async (bytes) => {
			for (;;) {
				const chunk = this.#socket.read(bytes) as Buffer | null;
				if (chunk?.length === bytes) return chunk;
				if (chunk) throw new Error(`${this.name} ended in the middle of a message`);
				if (this.#closed) return undefined;
				if (this.#error) throw this.#broken();
				if (this.#over) return undefined;
				await this.#news(deadline);
			}
		});
	}

	#broken(): Error {
		const { code } = this.#error as NodeJS.ErrnoException;
		const text = `the connection to ${this.name} broke: ${reasonOf(this.#error)}`;
		return Object.assign(new Error(text), { code });
	}

	/** Resolves when something came, or the connection went. */
	#news(deadline: number): Promise<void> {
		return new Promise((resolve, reject) => {
			let timer: NodeJS.Timeout | undefined;
			const waiter = () => {
				clearTimeout(timer);
				this.#waiters.delete(waiter);
				resolve();
			};
			this.#waiters.add(waiter);
			if (deadline === NEVER) return;
			timer = setTimeout(
				() => {
					this.#waiters.delete(waiter);
					reject(new Silence(this.name));
				},
				Math.max(0, deadline - Date.now()),
			);
		});
	}

	send(message: Uint8Array, deadline = NEVER): Promise<void> {
		return this.#write(frame(message), deadline);
	}

	/** Resolves when the kernel has it. */
	#write(bytes: Uint8Array, deadline = NEVER): Promise<void> {
		return new Promise((resolve, reject) => {
			const late = () => reject(new Silence(this.name));
			const timer = deadline === NEVER ? undefined : setTimeout(late, Math.max(0, deadline - Date.now()));
			this.#socket.write(bytes, (error) => {
				clearTimeout(timer);
				if (error) reject(error);
				else resolve();
			});
		});
	}

	watch(react: () => void): () => void {
		const waiter = () => {
			if (!this.#socket.readableLength && !this.#over) return;
			this.#waiters.delete(waiter);
			react();
		};
		this.#waiters.add(waiter);
		return () => this.#waiters.delete(waiter);
	}

	sink(): number {
		const { readEnd, writeEnd } = newPipe();
		this.#pipe = { ours: writeEnd, theirs: readEnd };
		void this.#pumpOut(readEnd);
		return writeEnd;
	}

	source(): number {
		const { readEnd, writeEnd } = newPipe();
		this.#pipe = { ours: readEnd, theirs: writeEnd };
		void this.#pumpIn(writeEnd);
		return readEnd;
	}

	/** Never rejects: what is wrong with the socket is told by {@link receive}. */
	async #pumpOut(readEnd: number): Promise<void> {
		const memory = buffer(CHUNK_BYTES);
		try {
			while (this.#pipe?.theirs !== -1) {
				const count = read(readEnd, memory, memory.length);
				if (count === -EAGAIN) await ready(readEnd, EPOLLIN);
				else if (count > 0) await this.#write(memory.subarray(0, count));
				else if (count === 0) {
					this.#socket.end();
					break;
				} else if (count !== -EINTR) throw callError('cannot read the pipe before TLS', count);
			}
		} catch (error) {
			this.#error ??= error as Error;
		}
		this.#closeTheirs();
	}

	/** Never rejects: the reader of the pipe sees its end, and that it came too early. */
	async #pumpIn(writeEnd: number): Promise<void> {
		try {
			for (;;) {
				const chunk = this.#socket.read() as Buffer | null;
				// The reader wants no more: what still comes is for drain().
				if (chunk && !(await this.#fill(writeEnd, chunk))) break;
				if (chunk) continue;
				if (this.#over) break;
				await this.#news(NEVER);
			}
		} catch (error) {
			this.#error ??= error as Error;
		}
		this.#closeTheirs();
	}

	/** False: nobody reads the pipe any more. */
	async #fill(writeEnd: number, chunk: Buffer): Promise<boolean> {
		for (let at = 0; at < chunk.length; ) {
			if (this.#pipe?.theirs === -1) return false;
			const count = write(writeEnd, chunk.subarray(at), chunk.length - at);
			if (count === -EAGAIN) await ready(writeEnd, EPOLLOUT);
			else if (count === -EPIPE) return false;
			else if (count > 0) at += count;
			else if (count !== -EINTR) throw callError('cannot fill the pipe behind TLS', count);
		}
		return true;
	}

	breakSink(): void {
		this.#closeTheirs();
	}

	end(): void {
		if (this.#pipe) this.#closeOurs();
		else this.#socket.end();
	}

	async drain(deadline: number): Promise<void> {
		this.#closeOurs();
		// It may be waiting for news, which are for this from now on.
		this.#closeTheirs();
		while (!this.#over && Date.now() < deadline) {
			if (!this.#socket.read()) await this.#news(deadline);
		}
	}

	close(): void {
		if (this.#closed) return;
		this.#closed = true;
		this.#closeOurs();
		this.#closeTheirs();
		for (const waiter of [...this.#waiters]) waiter();
		if (!this.#socket.writableEnded) {
			this.#socket.destroy();
			return;
		}
		this.#socket.destroySoon();
		setTimeout(() => this.#socket.destroy(), LINGER_MILLIS).unref();
	}

	#closeOurs(): void {
		const pipe = this.#pipe;
		if (!pipe || pipe.ours === -1) return;
		const fd = pipe.ours;
		pipe.ours = -1;
		poller.interrupt(fd);
		poller.close(fd);
	}

	#closeTheirs(): void {
		const pipe = this.#pipe;
		if (!pipe || pipe.theirs === -1) return;
		const fd = pipe.theirs;
		pipe.theirs = -1;
		poller.interrupt(fd);
		poller.close(fd);
	}
}

function newPipe(): { readEnd: number; writeEnd: number } {
	const pipe = makePipe();
	if (typeof pipe === 'number') throw new Error(`cannot make a pipe for TLS: ${errnoText(pipe)}`);
	enlargePipe(pipe.writeEnd);
	return pipe;
}

/**
 * The listening side: accepts the connections of one stream and rejects all others with a reason, without effect on the
 * accepted ones. There is no time limit. No hello is answered until every shard is connected: when a capture dies between
 * two of its connections, the next one can take its place.
 */
import { callError, EMFILE, ENFILE, errnoText } from '../libc/errno.js';
import { acceptAt, incoming, type Listener, listenAt, notYet } from '../net/sockets.js';
import type { PeerConnections } from '../peer/connect.js';
import { type ConnectionWrapper, wrapPlain } from '../peer/wrapper.js';
import { describeError } from '../runtime/errors.js';
import { type PeerConnection, PeerTimeout } from './connection.js';
import { accepted, type Hello, type LinkSettings, readHello, reject } from './handshake.js';

/**
 * Handshakes at a time; more connections wait in the kernel's queue. Far more than a stream has shards, so that other
 * connections cannot block it.
 */
const MAX_HANDSHAKES = 128;

const TAKEN = 'the stream has all its connections';

interface Admitted {
	connection: PeerConnection;
	hello: Hello;
	unwatch(): void;
}

/** Listens at every address until all shards of one stream are connected. Throws where it cannot listen. */
export async function acceptPeers(settings: LinkSettings): Promise<PeerConnections> {
	const wrap = settings.tls ? (await import('./tls.js')).serverWrapper(settings.tls) : wrapPlain;
	const acceptor = new PeerAcceptor(settings, wrap);
	return await acceptor.run();
}

/**
 * - admitting: connections may still be admitted;
 * - answering: all shards are connected, and are being answered;
 * - over: the stream has all its connections, or it failed.
 */
type State = 'admitting' | 'answering' | 'over';

class PeerAcceptor {
	readonly #settings: LinkSettings;
	readonly #wrap: ConnectionWrapper;
	readonly #listeners: Listener[] = [];
	/** By shard; all belong to one stream. */
	readonly #admitted = new Map<number, Admitted>();
	readonly #handshakes = new Set<Promise<void>>();
	/** Connections that have not sent their hello yet. */
	readonly #pending = new Set<PeerConnection>();
	#state: State = 'admitting';
	#finish: (linked: PeerConnections) => void = () => {};
	#fail: (error: unknown) => void = () => {};

	constructor(settings: LinkSettings, wrap: ConnectionWrapper) {
		this.#settings = settings;
		this.#wrap = wrap;
	}

	async run(): Promise<PeerConnections> {
		const { signal } = this.#settings;
		const abort = () => this.#fail(signal?.reason);
		try {
			for (const address of this.#settings.addresses) this.#listeners.push(await listenAt(address));
			await this.#settings.listening();
			return await new Promise<PeerConnections>((resolve, reject) => {
				this.#finish = resolve;
				this.#fail = reject;
				signal?.addEventListener('abort', abort);
				if (signal?.aborted) abort();
				for (const listener of this.#listeners) this.#accept(listener).catch(reject);
			});
		} finally {
			signal?.removeEventListener('abort', abort);
			this.#state = 'over';
			for (const { connection, unwatch } of this.#admitted.values()) {
				unwatch();
				void reject(connection, TAKEN);
			}
			for (const connection of this.#pending) void reject(connection, TAKEN);
			for (const listener of this.#listeners) {
				this.#rejectQueued(listener);
				listener.close();
			}
		}
	}

	async #accept(listener: Listener): Promise<void> {
		while (this.#state !== 'over') {
			const socket = acceptAt(listener);
			if (typeof socket === 'number') {
				await this.#acceptFailed(listener, socket);
				continue;
			}
			const handshake = this.#handshake(socket.fd, socket.name).catch(this.#fail);
			this.#handshakes.add(handshake);
			handshake.finally(() => this.#handshakes.delete(handshake));
			if (this.#handshakes.size >= MAX_HANDSHAKES) await this.#handshakeDone();
		}
	}

	/** Resolves when accepting can be tried again after the negative errno `result`. */
	async #acceptFailed(listener: Listener, result: number): Promise<void> {
		const tooManyFiles = result === -EMFILE || result === -ENFILE;
		if (tooManyFiles && !this.#handshakes.size) throw callError('cannot take a connection', result);
		if (tooManyFiles) return this.#handshakeDone();
		if (!notYet(result)) this.#settings.warn(`a connection failed: ${errnoText(result)}`);
		await incoming(listener);
	}

	async #handshakeDone(): Promise<void> {
		await Promise.race(this.#handshakes);
	}

	/** Reads the hello of a new connection, and admits the connection or rejects it. */
	async #handshake(fd: number, name: string): Promise<void> {
		const deadline = Date.now() + this.#settings.handshakeMillis;
		let connection: PeerConnection | undefined;
		try {
			connection = await this.#wrap(fd, name, '', deadline);
			this.#pending.add(connection);
			const message = await connection.receive(deadline);
			this.#pending.delete(connection);
			// Ignore port probes.
			if (!message) return connection.close();
			const hello = readHello(this.#settings, message);
			this.#admit(hello);
			this.#register(connection, hello);
		} catch (error) {
			const message = describeError(error);
			this.#settings.warn(`refused a connection from ${name}: ${message}`);
			// A slow client may try again, which it does not after a refusal.
			if (error instanceof PeerTimeout) connection?.close();
			else if (connection) await reject(connection, message);
		}
		if (connection) this.#pending.delete(connection);
		if (this.#admitted.size === this.#settings.shards && this.#state !== 'over') await this.#answerAll();
	}

	/** Throws the reason why a connection with a valid hello cannot be admitted now. */
	#admit({ stream, shard }: Hello): void {
		if (this.#state !== 'admitting') throw new Error(TAKEN);
		const first = [...this.#admitted.values()][0];
		if (first && first.hello.stream !== stream)
			throw new Error(
				`another stream is being connected, from ${first.connection.name}: use another address for a second one`,
			);
		if (this.#admitted.has(shard)) throw new Error(`shard ${shard + 1} of this stream is connected already`);
	}

	#register(connection: PeerConnection, hello: Hello): void {
		// Input before our answer is a protocol error or the end of the connection.
		const unwatch = connection.watch(() => {
			this.#admitted.delete(hello.shard);
			connection.close();
		});
		this.#admitted.set(hello.shard, { connection, hello, unwatch });
	}

	/** All shards are connected: answers them. If one cannot be answered, the stream fails, and the next one may connect. */
	async #answerAll(): Promise<void> {
		const admitted = [...this.#admitted.values()].sort((a, b) => a.hello.shard - b.hello.shard);
		this.#admitted.clear();
		for (const { unwatch } of admitted) unwatch();
		this.#state = 'answering';
		const deadline = Date.now() + this.#settings.handshakeMillis;
		try {
			for (const { connection } of admitted) await connection.send(accepted(this.#settings), deadline);
			this.#state = 'over';
			this.#finish({
				connections: admitted.map(({ connection }) => connection),
				other: admitted[0]!.hello,
			});
		} catch (error) {
			this.#settings.warn(`lost a stream before it began: ${describeError(error)}`);
			for (const { connection } of admitted) connection.close();
			if (this.#state === 'answering') this.#state = 'admitting';
		}
	}

	/** Rejects the connections that are still in the queue. */
	#rejectQueued(listener: Listener): void {
		for (let i = 0; i < MAX_HANDSHAKES; i++) {
			const socket = acceptAt(listener);
			if (typeof socket === 'number') return;
			const deadline = Date.now() + 1000;
			void this.#wrap(socket.fd, socket.name, '', deadline)
				.then((connection) => reject(connection, TAKEN))
				.catch(() => {});
		}
	}
}

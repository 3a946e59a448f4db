/**
 * The listening side: takes the connections of one stream and refuses all others by name, without harm to the good ones.
 * It waits for as long as it takes. Nothing is answered until every shard is there: a capture that dies between two of its
 * connections leaves the place to the next.
 */
import { callError, EMFILE, ENFILE, errnoText } from '../libc/errno.js';
import { acceptAt, incoming, type Listener, listenAt, notYet } from '../net/sockets.js';
import type { PeerConnections } from '../peer/connect.js';
import { type ConnectionWrapper, wrapPlain } from '../peer/wrapper.js';
import { describeError } from '../runtime/errors.js';
import { type PeerConnection, PeerTimeout } from './connection.js';
import { accepted, type Greeting, type LinkSettings, readHello, reject } from './handshake.js';

/** Greeted at a time; more wait in the kernel's queue. Far more than a stream has shards, so that strangers cannot block. */
const MAX_GREETED = 128;

const TAKEN = 'the stream has all its connections';

interface Held {
	wire: PeerConnection;
	guest: Greeting;
	unwatch(): void;
}

/** Listens at every address until all shards of one stream are there. Throws where it cannot listen. */
export async function acceptPeers(settings: LinkSettings): Promise<PeerConnections> {
	const dress = settings.tls ? (await import('./tls.js')).serverWrapper(settings.tls) : wrapPlain;
	const gathering = new PeerAcceptor(settings, dress);
	return await gathering.run();
}

/**
 * - gathering: connections may still be admitted;
 * - answering: all shards are there, and are being told so;
 * - over: the stream has all its connections, or it failed.
 */
type State = 'gathering' | 'answering' | 'over';

class PeerAcceptor {
	readonly #settings: LinkSettings;
	readonly #dress: ConnectionWrapper;
	readonly #listeners: Listener[] = [];
	/** By shard; all of one stream. */
	readonly #held = new Map<number, Held>();
	readonly #greetings = new Set<Promise<void>>();
	/** Of connections that have not said hello yet. */
	readonly #strangers = new Set<PeerConnection>();
	#state: State = 'gathering';
	#finish: (linked: PeerConnections) => void = () => {};
	#fail: (error: unknown) => void = () => {};

	constructor(settings: LinkSettings, dress: ConnectionWrapper) {
		this.#settings = settings;
		this.#dress = dress;
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
			for (const { wire, unwatch } of this.#held.values()) {
				unwatch();
				void reject(wire, TAKEN);
			}
			for (const wire of this.#strangers) void reject(wire, TAKEN);
			for (const listener of this.#listeners) {
				this.#emptyQueue(listener);
				listener.close();
			}
		}
	}

	async #accept(listener: Listener): Promise<void> {
		while (this.#state !== 'over') {
			const connection = acceptAt(listener);
			if (typeof connection === 'number') {
				if (connection === -EMFILE || connection === -ENFILE) {
					if (!this.#greetings.size) throw callError('cannot take a connection', connection);
					await this.#oneLess();
					continue;
				}
				if (!notYet(connection)) this.#settings.warn(`a connection failed: ${errnoText(connection)}`);
				await incoming(listener);
				continue;
			}
			const greeting = this.#greet(connection.fd, connection.name).catch(this.#fail);
			this.#greetings.add(greeting);
			greeting.finally(() => this.#greetings.delete(greeting));
			if (this.#greetings.size >= MAX_GREETED) await this.#oneLess();
		}
	}

	async #oneLess(): Promise<void> {
		await Promise.race(this.#greetings);
	}

	/** Hears what a new connection has to say, and keeps it or refuses it. */
	async #greet(fd: number, name: string): Promise<void> {
		const deadline = Date.now() + this.#settings.handshakeMillis;
		let wire: PeerConnection | undefined;
		try {
			wire = await this.#dress(fd, name, '', deadline);
			this.#strangers.add(wire);
			const message = await wire.receive(deadline);
			this.#strangers.delete(wire);
			// Whoever only looks whether somebody listens is no news.
			if (!message) return wire.close();
			const guest = readHello(this.#settings, message);
			this.#admit(guest);
			this.#hold(wire, guest);
		} catch (error) {
			const message = describeError(error);
			this.#settings.warn(`refused a connection from ${name}: ${message}`);
			// One that was only slow may try again, which it does not after a refusal.
			if (error instanceof PeerTimeout) wire?.close();
			else if (wire) await reject(wire, message);
		}
		if (wire) this.#strangers.delete(wire);
		if (this.#held.size === this.#settings.shards && this.#state !== 'over') await this.#accepted();
	}

	/** Throws why a guest with a right hello cannot be taken now. */
	#admit({ stream, shard }: Greeting): void {
		if (this.#state !== 'gathering') throw new Error(TAKEN);
		const first = [...this.#held.values()][0];
		if (first && first.guest.stream !== stream)
			throw new Error(
				`another stream is being connected, from ${first.wire.name}: use another address for a second one`,
			);
		if (this.#held.has(shard)) throw new Error(`shard ${shard + 1} of this stream is connected already`);
	}

	#hold(wire: PeerConnection, guest: Greeting): void {
		// Nobody may speak before the answer: whoever does is gone, or no client of ours.
		const unwatch = wire.watch(() => {
			this.#held.delete(guest.shard);
			wire.close();
		});
		this.#held.set(guest.shard, { wire, guest, unwatch });
	}

	/** All are there: tells them. If one cannot hear it, its stream is lost, and the next may come. */
	async #accepted(): Promise<void> {
		const held = [...this.#held.values()].sort((a, b) => a.guest.shard - b.guest.shard);
		this.#held.clear();
		for (const { unwatch } of held) unwatch();
		this.#state = 'answering';
		const deadline = Date.now() + this.#settings.handshakeMillis;
		try {
			for (const { wire } of held) await wire.send(accepted(this.#settings.stallMillis), deadline);
			this.#state = 'over';
			this.#finish({ wires: held.map(({ wire }) => wire), theirStallMillis: held[0]!.guest.stallMillis });
		} catch (error) {
			this.#settings.warn(`lost a stream before it began: ${describeError(error)}`);
			for (const { wire } of held) wire.close();
			if (this.#state === 'answering') this.#state = 'gathering';
		}
	}

	/** Connections that came too late still get an answer. */
	#emptyQueue(listener: Listener): void {
		for (let i = 0; i < MAX_GREETED; i++) {
			const connection = acceptAt(listener);
			if (typeof connection === 'number') return;
			const deadline = Date.now() + 1000;
			void this.#dress(connection.fd, connection.name, '', deadline)
				.then((wire) => reject(wire, TAKEN))
				.catch(() => {});
		}
	}
}

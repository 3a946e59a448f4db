/**
 * Streams over connections: after the stream the receiver confirms that it has the whole image, and until then it sends
 * keepalives. Its messages use the same connections, in the opposite direction of the stream.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ECONNRESET, EPIPE } from '../libc/errno.js';
import { acceptPeers } from '../peer/accept.js';
import { connectPeers, type PeerConnections } from '../peer/connect.js';
import {
	boundedText,
	FINAL_STATUS_MILLIS,
	HANDSHAKE_MILLIS,
	type LinkRequest,
	type LinkSettings,
} from '../peer/handshake.js';
import { link } from '../proto/messages.js';
import { describeError } from '../runtime/errors.js';
import { StallDetector } from '../runtime/stall.js';
import { StreamError } from '../runtime/stream-error.js';
import type { Incoming, Outgoing, Shard } from '../stream/shard.js';
import type { PeerConnection } from './connection.js';

/** How long the connecting side retries: time to type the other command. */
const CONNECT_MILLIS = 30_000;
/** Maximum interval of the receiver's keepalives; it is also at most a quarter of the sender's stall timeout. */
const MAX_KEEPALIVE_MILLIS = 5000;
const MIN_KEEPALIVE_MILLIS = 100;
/** Time to process messages that arrived before a stall was noticed. */
const GRACE_MILLIS = 100;
/** A receiver that failed discards its input for so long, until the sender has read the reason. */
const DRAIN_MILLIS = 5000;

/** The optional parts of {@link LinkSettings}; tests shorten the times. */
export type LinkOverrides = Partial<Omit<LinkSettings, keyof LinkRequest>>;

/** Connects (or listens for) a receiver. */
export async function sendOver(request: LinkRequest, overrides: LinkOverrides = {}): Promise<Outgoing> {
	const settings = settingsOf(request, overrides);
	return new Sender(settings, await establish(settings));
}

/** Connects (or listens for) a sender. */
export async function receiveOver(request: LinkRequest, overrides: LinkOverrides = {}): Promise<Incoming> {
	const settings = settingsOf(request, overrides);
	return new Receiver(settings, await establish(settings));
}

function establish(settings: LinkSettings): Promise<PeerConnections> {
	return settings.listens ? acceptPeers(settings) : connectPeers(settings);
}

function settingsOf(request: LinkRequest, overrides: LinkOverrides): LinkSettings {
	return {
		connectMillis: CONNECT_MILLIS,
		handshakeMillis: HANDSHAKE_MILLIS,
		warn() {},
		describe: describeError,
		async listening() {},
		...request,
		...overrides,
	};
}

/**
 * - streaming: the stream is being written;
 * - answering: it is written, and the receiver has to confirm the image;
 * - whole: the receiver has confirmed it;
 * - closed: the connections are closed, and further messages are ignored.
 */
type State = 'streaming' | 'answering' | 'whole' | 'closed';

class Sender implements Outgoing {
	readonly shards: readonly Shard[];
	readonly copies: boolean;
	readonly #connections: readonly PeerConnection[];
	/** Why the receiver does not have the image: its reason, or an error of this side. */
	#failure: Error | undefined;
	#state: State = 'streaming';
	/** Counts from the last message of the receiver. */
	readonly #stall: StallDetector;
	/** Resolves once the receiver has the image, or {@link #failure} is set. */
	readonly #settled: Promise<void>;
	#settle!: () => void;

	constructor({ stallMillis }: LinkSettings, { connections, other }: PeerConnections) {
		this.#connections = connections;
		this.copies = other.copies;
		this.#stall = new StallDetector(stallMillis);
		this.#settled = new Promise((resolve) => {
			this.#settle = resolve;
		});
		this.shards = connections.map((connection) => ({
			fd: connection.sink(),
			name: connection.name,
			stallMillis,
		}));
		for (const connection of connections) void this.#readReceipts(connection);
	}

	/** Reads the receiver's messages until the end: it may report a failure in the middle of the stream. */
	async #readReceipts(connection: PeerConnection): Promise<void> {
		try {
			for (;;) {
				const message = await connection.receive();
				if (this.#over) return;
				if (!message)
					throw new Error(
						`${connection.name} closed the connection before it said that it has the image: it was ended, or it failed`,
					);
				this.#stall.progress();
				const receipt = decodeReceipt(message, connection.name);
				if (receipt.failed)
					throw new Error(`the receiver at ${connection.name} says: ${boundedText(receipt.failed.reason)}`);
				if (receipt.whole && this.#state === 'streaming')
					throw new Error(`${connection.name} says that it has the image, before it was sent`);
				if (receipt.whole) {
					this.#state = 'whole';
					this.#settle();
				}
			}
		} catch (error) {
			if (this.#over) return;
			this.#failure ??= error as Error;
			this.#settle();
			// A pending or later write of the stream fails with EPIPE.
			for (const each of this.#connections) each.breakSink();
		}
	}

	/** Further messages of the receiver are ignored. */
	get #over(): boolean {
		return this.#state === 'whole' || this.#state === 'closed';
	}

	async received(): Promise<{ silent: boolean }> {
		this.#state = 'answering';
		this.#stall.progress();
		for (const connection of this.#connections) connection.end();
		await this.#waitForReceipt();
		if (this.#failure) throw this.#failure;
		await this.close();
		return { silent: false };
	}

	async #waitForReceipt(): Promise<void> {
		const { millis } = this.#stall;
		if (!millis) return await this.#settled;
		while (!this.#stall.stalled) {
			const timer = new AbortController();
			const late = sleep(this.#stall.left, true, { signal: timer.signal }).catch(() => false);
			const isLate = await Promise.race([this.#settled, late]);
			timer.abort();
			if (!isLate) return;
			// If this process was suspended, messages that arrived meanwhile are still to be processed.
			await sleep(GRACE_MILLIS);
		}
		const seconds = millis / 1000;
		this.#failure ??= new StreamError(
			'STALLED',
			`the receiver at ${this.#connections[0]!.name} was silent for ${seconds} s when it had to say that it has the image: ` +
				'look whether it still runs',
		);
	}

	async explain(error: Error): Promise<Error> {
		// After a broken connection the receiver's reason may still arrive; other errors are mostly of this side.
		const { errno } = error as { errno?: number };
		const millis = errno === EPIPE || errno === ECONNRESET ? FINAL_STATUS_MILLIS : GRACE_MILLIS;
		if (!this.#failure) await Promise.race([this.#settled, sleep(millis, undefined, { ref: false })]);
		return this.#failure ?? error;
	}

	async close(): Promise<void> {
		this.#state = 'closed';
		for (const connection of this.#connections) connection.close();
	}
}

class Receiver implements Incoming {
	readonly shards: readonly Shard[];
	readonly #connections: readonly PeerConnection[];
	readonly #alive: NodeJS.Timeout;
	readonly #describe: LinkSettings['describe'];
	#closed = false;

	constructor({ stallMillis, describe }: LinkSettings, { connections, other }: PeerConnections) {
		this.#connections = connections;
		this.#describe = describe;
		this.shards = connections.map((connection) => ({
			fd: connection.source(),
			name: connection.name,
			stallMillis,
		}));
		const interval = other.stallMillis ? other.stallMillis / 4 : MAX_KEEPALIVE_MILLIS;
		this.#alive = setInterval(
			() => void this.#broadcast({ alive: {} }),
			Math.max(MIN_KEEPALIVE_MILLIS, Math.min(interval, MAX_KEEPALIVE_MILLIS)),
		);
		this.#alive.unref();
	}

	/** Sends `receipt` on every connection; returns on how many that succeeded. */
	async #broadcast(receipt: link.IReceipt): Promise<number> {
		const message = link.Receipt.encode(receipt).finish();
		const deadline = Date.now() + FINAL_STATUS_MILLIS;
		const sent = await Promise.allSettled(
			this.#connections.map((connection) => connection.send(message, deadline)),
		);
		return sent.filter(({ status }) => status === 'fulfilled').length;
	}

	async acknowledge(): Promise<void> {
		if (this.#closed) return;
		this.#closed = true;
		clearInterval(this.#alive);
		const sent = await this.#broadcast({ whole: {} });
		for (const connection of this.#connections) {
			connection.end();
			connection.close();
		}
		// For the sender the image is lost, and it lets the application live: it must not run here as well.
		if (!sent) throw new Error(`the image is whole, but its sender ${this.#connections[0]!.name} is gone`);
	}

	async close(error?: Error): Promise<void> {
		if (this.#closed) return;
		this.#closed = true;
		clearInterval(this.#alive);
		if (error) {
			await this.#broadcast({ failed: { reason: boundedText(this.#describe(error)) } });
			const deadline = Date.now() + DRAIN_MILLIS;
			const drains = this.#connections.map(async (connection) => {
				connection.end();
				await connection.drain(deadline);
			});
			await Promise.allSettled(drains);
		}
		for (const connection of this.#connections) connection.close();
	}
}

function decodeReceipt(message: Uint8Array, name: string): link.Receipt {
	try {
		return link.Receipt.decode(message);
	} catch (cause) {
		throw new Error(`the receiver at ${name} sent a message that is no receipt: is it criu-pipe-streamer?`, {
			cause,
		});
	}
}

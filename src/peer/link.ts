/**
 * Streams over connections: after the stream the receiver says whether it has the whole image, and while it works it says
 * now and then that it lives. Its words come on the same connections, against the stream.
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

/** How long the connecting side tries: time to type the other command. */
const PATIENCE_MILLIS = 30_000;
/** The receiver says that it lives at least as often, and four times within what the sender takes for its end. */
const ALIVE_MILLIS = 5000;
const QUICKEST_ALIVE_MILLIS = 100;
/** For hearing what had come before a silence was noticed. */
const GRACE_MILLIS = 100;
/** A receiver that failed drops what still comes for so long, until the sender has heard it. */
const DRAIN_MILLIS = 5000;

/** Parts of {@link LinkSettings} that not every caller has to say; tests make the times shorter. */
export type Surroundings = Partial<Omit<LinkSettings, keyof LinkRequest>>;

/** Connects (or listens for) a receiver. */
export async function sendOver(request: LinkRequest, surroundings: Surroundings = {}): Promise<Outgoing> {
	const settings = settingsOf(request, surroundings);
	return new Sender(settings, await establish(settings));
}

/** Connects (or listens for) a sender. */
export async function receiveOver(request: LinkRequest, surroundings: Surroundings = {}): Promise<Incoming> {
	const settings = settingsOf(request, surroundings);
	return new Receiver(settings, await establish(settings));
}

function establish(settings: LinkSettings): Promise<PeerConnections> {
	return settings.listens ? acceptPeers(settings) : connectPeers(settings);
}

function settingsOf(request: LinkRequest, surroundings: Surroundings): LinkSettings {
	return {
		patienceMillis: PATIENCE_MILLIS,
		handshakeMillis: HANDSHAKE_MILLIS,
		warn() {},
		describe: describeError,
		async listening() {},
		...request,
		...surroundings,
	};
}

/**
 * - streaming: the stream is being written;
 * - answering: it is out, and the receiver has to say whether it has the image;
 * - whole: it has said so;
 * - closed: the connections are closed, and nothing that comes counts any more.
 */
type State = 'streaming' | 'answering' | 'whole' | 'closed';

class Sender implements Outgoing {
	readonly shards: readonly Shard[];
	readonly #wires: readonly PeerConnection[];
	/** Why the far end does not have the image, in its words or in ours. */
	#failure: Error | undefined;
	#state: State = 'streaming';
	/** Of the receiver, which lives as long as it says anything. */
	readonly #silence: StallDetector;
	/** Resolves once the receiver has the image, or {@link #failure} is set. */
	readonly #settled: Promise<void>;
	#settle!: () => void;

	constructor({ stallMillis }: LinkSettings, { wires }: PeerConnections) {
		this.#wires = wires;
		this.#silence = new StallDetector(stallMillis);
		this.#settled = new Promise((resolve) => {
			this.#settle = resolve;
		});
		this.shards = wires.map((wire) => ({ fd: wire.sink(), name: wire.name, stallMillis }));
		for (const wire of wires) void this.#hear(wire);
	}

	/** What the receiver says, from now to the end: it may refuse the stream in its middle. */
	async #hear(wire: PeerConnection): Promise<void> {
		try {
			for (;;) {
				const message = await wire.receive();
				if (this.#over) return;
				if (!message)
					throw new Error(
						`${wire.name} closed the connection before it said that it has the image: it was ended, or it failed`,
					);
				this.#silence.progress();
				const said = link.Receipt.decode(message);
				if (said.failed)
					throw new Error(`the receiver at ${wire.name} says: ${boundedText(said.failed.reason)}`);
				if (said.whole && this.#state === 'streaming')
					throw new Error(`${wire.name} says that it has the image, before it was sent`);
				if (said.whole) {
					this.#state = 'whole';
					this.#settle();
				}
			}
		} catch (error) {
			if (this.#over) return;
			this.#failure ??= error as Error;
			this.#settle();
			// Whoever writes at this moment learns it by EPIPE.
			for (const each of this.#wires) each.breakSink();
		}
	}

	/** What the receiver still says changes nothing. */
	get #over(): boolean {
		return this.#state === 'whole' || this.#state === 'closed';
	}

	async received(): Promise<{ silent: boolean }> {
		this.#state = 'answering';
		this.#silence.progress();
		for (const wire of this.#wires) wire.end();
		await this.#answer();
		if (this.#failure) throw this.#failure;
		await this.close();
		return { silent: false };
	}

	async #answer(): Promise<void> {
		const { millis } = this.#silence;
		if (!millis) return await this.#settled;
		while (!this.#silence.stalled) {
			const timer = new AbortController();
			const late = sleep(this.#silence.left, true, { signal: timer.signal }).catch(() => false);
			const isLate = await Promise.race([this.#settled, late]);
			timer.abort();
			if (!isLate) return;
			// If it was this process that slept, what came meanwhile is still to be heard.
			await sleep(GRACE_MILLIS);
		}
		const seconds = millis / 1000;
		this.#failure ??= new StreamError(
			'STALLED',
			`the receiver at ${this.#wires[0]!.name} was silent for ${seconds} s when it had to say that it has the image: ` +
				'look whether it still runs',
		);
	}

	async explain(error: Error): Promise<Error> {
		// A connection that broke has a reason that may be on its way; other errors are most often of this side's making.
		const { errno } = error as { errno?: number };
		const millis = errno === EPIPE || errno === ECONNRESET ? FINAL_STATUS_MILLIS : GRACE_MILLIS;
		if (!this.#failure) await Promise.race([this.#settled, sleep(millis, undefined, { ref: false })]);
		return this.#failure ?? error;
	}

	async close(): Promise<void> {
		this.#state = 'closed';
		for (const wire of this.#wires) wire.close();
	}
}

class Receiver implements Incoming {
	readonly shards: readonly Shard[];
	readonly #wires: readonly PeerConnection[];
	readonly #alive: NodeJS.Timeout;
	readonly #describe: LinkSettings['describe'];
	#closed = false;

	constructor({ stallMillis, describe }: LinkSettings, { wires, theirStallMillis }: PeerConnections) {
		this.#wires = wires;
		this.#describe = describe;
		this.shards = wires.map((wire) => ({ fd: wire.source(), name: wire.name, stallMillis }));
		const often = theirStallMillis ? theirStallMillis / 4 : ALIVE_MILLIS;
		this.#alive = setInterval(
			() => void this.#say({ alive: {} }),
			Math.max(QUICKEST_ALIVE_MILLIS, Math.min(often, ALIVE_MILLIS)),
		);
		this.#alive.unref();
	}

	/** To the sender, on every connection; returns how many of them took it. */
	async #say(receipt: link.IReceipt): Promise<number> {
		const message = link.Receipt.encode(receipt).finish();
		const deadline = Date.now() + FINAL_STATUS_MILLIS;
		const sent = await Promise.allSettled(this.#wires.map((wire) => wire.send(message, deadline)));
		return sent.filter(({ status }) => status === 'fulfilled').length;
	}

	async acknowledge(): Promise<void> {
		if (this.#closed) return;
		this.#closed = true;
		clearInterval(this.#alive);
		const told = await this.#say({ whole: {} });
		for (const wire of this.#wires) {
			wire.end();
			wire.close();
		}
		// The sender will think that its image was lost, and let the application live: it must not run here as well.
		if (!told) throw new Error(`the image is whole, but ${this.#wires[0]!.name}, who sent it, is gone`);
	}

	async close(error?: Error): Promise<void> {
		if (this.#closed) return;
		this.#closed = true;
		clearInterval(this.#alive);
		if (error) {
			await this.#say({ failed: { reason: boundedText(this.#describe(error)) } });
			const deadline = Date.now() + DRAIN_MILLIS;
			const drains = this.#wires.map(async (wire) => {
				wire.end();
				await wire.drain(deadline);
			});
			await Promise.allSettled(drains);
		}
		for (const wire of this.#wires) wire.close();
	}
}

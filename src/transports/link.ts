/**
 * Streams over connections: after the stream the receiver says whether it has the whole image, and while it works it says
 * now and then that it lives. Its words come on the same connections, against the stream.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Options } from '../cli/options.js';
import { ECONNRESET, EPIPE } from '../libc/errno.js';
import { link } from '../proto/messages.js';
import { makeLog } from '../report/log.js';
import { describeError, UsageError } from '../run/errors.js';
import type { Incoming, Outgoing, Shard } from '../shards/shard.js';
import { MOST_SHARDS } from '../wire/limits.js';
import { parseAddress } from './address.js';
import { connectAll, type Linked } from './connect.js';
import { gatherAll } from './gather.js';
import { FAREWELL_MILLIS, foreign, HANDSHAKE_MILLIS, type LinkSettings } from './handshake.js';
import type { TlsFiles } from './tls.js';
import { readToken } from './token.js';
import type { Wire } from './wire.js';

/** Silence of a socket that counts as its end, where --stall-timeout says nothing. */
const STALL_MILLIS = 60_000;
/** How long the connecting side tries: time to type the other command. */
const PATIENCE_MILLIS = 30_000;
/** The receiver says that it lives at least as often, and four times within what the sender takes for its end. */
const ALIVE_MILLIS = 5000;
const QUICKEST_ALIVE_MILLIS = 100;
/** For hearing what had come before a silence was noticed. */
const GRACE_MILLIS = 100;
/** A receiver that failed drops what still comes for so long, until the sender has heard it. */
const DRAIN_MILLIS = 5000;

/** Parts of {@link LinkSettings} that tests make shorter. */
export type Limits = Partial<Pick<LinkSettings, 'patienceMillis' | 'handshakeMillis' | 'warn'>>;

/** Connects (or listens for) a receiver, as the options say. */
export async function sendOver(options: Options, limits: Limits = {}): Promise<Outgoing> {
	const settings = settingsOf(options, true, limits);
	return new Sender(settings, await establish(options, settings));
}

/** Connects (or listens for) a sender, as the options say. */
export async function receiveOver(options: Options, limits: Limits = {}): Promise<Incoming> {
	const settings = settingsOf(options, false, limits);
	return new Receiver(settings, await establish(options, settings));
}

function establish(options: Options, settings: LinkSettings): Promise<Linked> {
	return options.listen.length ? gatherAll(settings) : connectAll(settings);
}

function settingsOf(options: Options, sends: boolean, limits: Limits): LinkSettings {
	const option = options.listen.length ? '--listen' : '--connect';
	const texts = options.listen.length ? options.listen : options.connect;
	const twice = texts.find((text, i) => texts.indexOf(text) !== i);
	if (twice && options.listen.length) throw new UsageError(`--listen ${twice} is given twice`);
	const shards = texts.length * options.shards;
	if (shards > MOST_SHARDS)
		throw new UsageError(
			`${texts.length} addresses with ${options.shards} connections each are ${shards}; ${MOST_SHARDS} are the most`,
		);
	const log = makeLog(options.verbosity);
	return {
		addresses: texts.map((text) => parseAddress(option, text)),
		shards,
		sends,
		token: options.tokenFile === undefined ? undefined : readToken(options.tokenFile),
		tls: readTls(options),
		stallMillis: options.stallTimeout ?? STALL_MILLIS,
		patienceMillis: PATIENCE_MILLIS,
		handshakeMillis: HANDSHAKE_MILLIS,
		warn: (message) => log.warn(message),
		...limits,
	};
}

function readTls({ tlsCert, tlsKey, tlsCa, listen }: Options): TlsFiles | undefined {
	if (tlsCert === undefined && tlsKey === undefined && tlsCa === undefined) return undefined;
	if ((tlsCert === undefined) !== (tlsKey === undefined))
		throw new UsageError('--tls-cert and --tls-key belong together');
	if (listen.length && tlsCert === undefined)
		throw new UsageError('a side that listens with TLS needs --tls-cert and --tls-key');
	const load = (option: string, path: string | undefined) => {
		if (path === undefined) return {};
		try {
			return { [option]: readFileSync(path) };
		} catch (cause) {
			throw new Error(`--tls-${option} cannot be read`, { cause });
		}
	};
	return { ...load('cert', tlsCert), ...load('key', tlsKey), ...load('ca', tlsCa) };
}

class Sender implements Outgoing {
	readonly shards: readonly Shard[];
	readonly #wires: readonly Wire[];
	readonly #stallMillis: number;
	/** Why the far end does not have the image, in its words or in ours. */
	#failure: Error | undefined;
	#whole = false;
	#ended = false;
	#closed = false;
	#heard = Date.now();
	/** Resolves once {@link #failure} or {@link #whole} is set. */
	readonly #settled: Promise<void>;
	#settle!: () => void;

	constructor({ stallMillis }: LinkSettings, { wires }: Linked) {
		this.#wires = wires;
		this.#stallMillis = stallMillis;
		this.#settled = new Promise((resolve) => {
			this.#settle = resolve;
		});
		this.shards = wires.map((wire) => ({ fd: wire.sink(), name: wire.name, stallMillis }));
		for (const wire of wires) void this.#hear(wire);
	}

	/** What the receiver says, from now to the end: it may refuse the stream in its middle. */
	async #hear(wire: Wire): Promise<void> {
		try {
			for (;;) {
				const message = await wire.receive();
				if (this.#closed || this.#whole) return;
				if (!message)
					throw new Error(
						`${wire.name} closed the connection before it said that it has the image: it was ended, or it failed`,
					);
				this.#heard = Date.now();
				const said = link.Receipt.decode(message);
				if (said.failed) throw new Error(`the receiver at ${wire.name} says: ${foreign(said.failed.reason)}`);
				if (said.whole && !this.#ended)
					throw new Error(`${wire.name} says that it has the image, before it was sent`);
				if (said.whole) {
					this.#whole = true;
					this.#settle();
				}
			}
		} catch (error) {
			if (this.#whole || this.#closed) return;
			this.#failure ??= error as Error;
			this.#settle();
			// Whoever writes at this moment learns it by EPIPE.
			for (const each of this.#wires) each.breakSink();
		}
	}

	async received(): Promise<{ silent: boolean }> {
		this.#ended = true;
		this.#heard = Date.now();
		for (const wire of this.#wires) wire.end();
		await this.#answer();
		if (this.#failure) throw this.#failure;
		await this.close();
		return { silent: false };
	}

	async #answer(): Promise<void> {
		if (!this.#stallMillis) return await this.#settled;
		for (;;) {
			// The clock may be set back, and a timer that is too long fires at once.
			const left = Math.min(this.#stallMillis, this.#heard + this.#stallMillis - Date.now());
			if (left <= 0) break;
			const timer = new AbortController();
			const late = sleep(left, true, { signal: timer.signal }).catch(() => false);
			const isLate = await Promise.race([this.#settled, late]);
			timer.abort();
			if (!isLate) return;
			// If it was this process that slept, what came meanwhile is still to be heard.
			await sleep(GRACE_MILLIS);
		}
		const seconds = this.#stallMillis / 1000;
		this.#failure ??= new Error(
			`the receiver at ${this.#wires[0]!.name} was silent for ${seconds} s when it had to say that it has the image ` +
				'(--stall-timeout)',
		);
	}

	async explain(error: Error): Promise<Error> {
		// A connection that broke has a reason that may be on its way; other errors are most often of this side's making.
		const { errno } = error as { errno?: number };
		const millis = errno === EPIPE || errno === ECONNRESET ? FAREWELL_MILLIS : GRACE_MILLIS;
		if (!this.#failure) await Promise.race([this.#settled, sleep(millis, undefined, { ref: false })]);
		return this.#failure ?? error;
	}

	async close(): Promise<void> {
		this.#closed = true;
		for (const wire of this.#wires) wire.close();
	}
}

class Receiver implements Incoming {
	readonly shards: readonly Shard[];
	readonly #wires: readonly Wire[];
	readonly #alive: NodeJS.Timeout;
	#closed = false;

	constructor({ stallMillis }: LinkSettings, { wires, theirStallMillis }: Linked) {
		this.#wires = wires;
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
		const deadline = Date.now() + FAREWELL_MILLIS;
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
			await this.#say({ failed: { reason: foreign(describeError(error)) } });
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

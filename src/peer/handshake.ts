/**
 * What is said before the stream: the connecting side says hello, the listening side checks it and answers, once every shard
 * of the stream is there. See proto/link.proto.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Address } from '../net/address.js';
import { link } from '../proto/messages.js';
import { MAX_TIMER_SECONDS } from '../runtime/timers.js';
import type { PeerConnection } from './connection.js';
import type { TlsFiles } from './tls-files.js';

/** Of this protocol. */
export const VERSION = 1;
/** A run's name: too long to be guessed or to come twice. */
export const STREAM_BYTES = 16;
/** A client that connects and says nothing for so long is no client of ours. */
export const HANDSHAKE_MILLIS = 10_000;

/** Of a side's --stall-timeout, as that option has it. */
const MAX_STALL_MILLIS = MAX_TIMER_SECONDS * 1000;

/** For the last words of a side, and for the other to read them. */
export const FINAL_STATUS_MILLIS = 2000;

/** What one side wants of its connections, as its options say. */
export interface LinkRequest {
	/** Whether this side listens for the other, or connects to it. */
	listens: boolean;
	addresses: Address[];
	/** In all. */
	shards: number;
	/** Whether the stream flows from this side to the other. */
	sends: boolean;
	/** Demanded by the listening side, said by the connecting one. */
	token: Buffer | undefined;
	tls: TlsFiles | undefined;
	stallMillis: number;
}

/** A request, and what goes with every one. */
export interface LinkSettings extends LinkRequest {
	/** How long the connecting side tries. */
	patienceMillis: number;
	handshakeMillis: number;
	/** Told what happens to connections that were none. */
	warn(message: string): void;
	/** The words for an error that ends this side, for the other one. */
	describe(error: unknown): string;
	/** Called, and waited for, when the other side can connect. */
	listening(): Promise<void>;
	/** Ends the wait for the other side, with its reason as the error. */
	signal?: AbortSignal | undefined;
}

/** The hello of connection `shard`. */
export function hello(settings: LinkSettings, stream: Buffer, shard: number): Uint8Array {
	return link.Hello.encode({
		version: VERSION,
		token: settings.token ?? Buffer.alloc(0),
		stream,
		shards: settings.shards,
		shard,
		sends: settings.sends,
		stall_millis: settings.stallMillis,
	}).finish();
}

/** What a connecting side said, as far as it is right. */
export interface Greeting {
	stream: string;
	shard: number;
	stallMillis: number;
}

/** Reads a hello. Throws why it is refused, in words for the other side. */
export function readHello(settings: LinkSettings, message: Uint8Array): Greeting {
	let said: link.Hello;
	try {
		said = link.Hello.decode(message);
	} catch {
		throw new Error('this is a criu-image-streamer that listens, and it was not greeted as one');
	}
	const { version, token, stream, shards, shard, sends, stall_millis } = said;
	if (version !== VERSION)
		throw new Error(`the connection speaks version ${version}, this side ${VERSION}: use the same release`);
	if (settings.token && !token.length)
		throw new Error('a token is needed here: give the same token on both sides');
	if (settings.token && !sameSecret(settings.token, token))
		throw new Error('the token is wrong: give the same token on both sides');
	if (stream.length !== STREAM_BYTES) throw new Error('the hello names no stream');
	if (sends === settings.sends)
		throw new Error(
			`both sides ${sends ? 'capture' : 'read'}: one has to capture, the other to extract or serve`,
		);
	if (shards !== settings.shards)
		throw new Error(
			`${count(shards)} cannot meet ${count(settings.shards)}: give the same number of shards (and as many addresses) on both sides`,
		);
	if (shard >= shards) throw new Error(`there is no shard ${shard} among ${shards}`);
	if (stall_millis > MAX_STALL_MILLIS) throw new Error(tooLong(stall_millis));
	return { stream: Buffer.from(stream).toString('hex'), shard, stallMillis: stall_millis };
}

function tooLong(millis: number): string {
	return `a stall timeout of ${millis} ms is out of range: ${MAX_STALL_MILLIS} ms are the most`;
}

function count(shards: number): string {
	return shards === 1 ? '1 connection' : `${shards} connections`;
}

/** In a time that tells nothing about where they differ, or how long they are. */
function sameSecret(a: Uint8Array, b: Uint8Array): boolean {
	const digest = (secret: Uint8Array) => createHash('sha256').update(secret).digest();
	return timingSafeEqual(digest(a), digest(b));
}

/** The answer of a listening side that takes the connection. */
export function accepted(stallMillis: number): Uint8Array {
	return link.Welcome.encode({ accepted: { stall_millis: stallMillis } }).finish();
}

/**
 * Refuses a connection, and closes it once the other side has read why (or after a while): what is closed with input unread
 * loses its output. Never rejects.
 */
export async function reject(wire: PeerConnection, reason: string): Promise<void> {
	const deadline = Date.now() + FINAL_STATUS_MILLIS;
	try {
		await wire.send(link.Welcome.encode({ refused: { reason } }).finish(), deadline);
		wire.end();
		await wire.drain(deadline);
	} catch {
		// It went without hearing it.
	}
	wire.close();
}

/** The other side will not have it, and will not change its mind: no reason to try again. */
export class Refusal extends Error {}

/** Reads the answer of `name`; returns its stall time. Throws {@link Refusal}. */
export function readWelcome(name: string, message: Uint8Array): number {
	let said: link.Welcome;
	try {
		said = link.Welcome.decode(message);
	} catch {
		throw new Refusal(`${name} speaks another protocol: is it a criu-image-streamer that listens?`);
	}
	if (said.refused) throw new Refusal(`${name} refuses: ${boundedText(said.refused.reason)}`);
	if (!said.accepted)
		throw new Refusal(`${name} gave no answer that is known: use the same release on both sides`);
	const stallMillis = said.accepted.stall_millis ?? 0;
	if (stallMillis > MAX_STALL_MILLIS) throw new Refusal(`${name} has ${tooLong(stallMillis)}`);
	return stallMillis;
}

/** Words from outside, for a message: not too many. */
export function boundedText(text: string | null | undefined): string {
	return (text || 'no reason given').slice(0, 1000);
}

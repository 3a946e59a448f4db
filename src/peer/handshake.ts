/**
 * The messages before the stream: the connecting side sends a hello, the listening side checks it, and answers once every
 * shard of the stream is connected. See proto/link.proto.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Address } from '../net/address.js';
import { link } from '../proto/messages.js';
import { MAX_TIMER_SECONDS } from '../runtime/timers.js';
import type { PeerConnection } from './connection.js';
import type { TlsFiles } from './tls-files.js';

/** Version of the protocol. */
export const VERSION = 1;
/** Length of the random name of a run: too long to be guessed or to occur twice. */
export const STREAM_BYTES = 16;
/** A client must send its hello within this time. */
export const HANDSHAKE_MILLIS = 10_000;

/** The maximum --stall-timeout of a side, as for the option. */
const MAX_STALL_MILLIS = MAX_TIMER_SECONDS * 1000;

/** Time limit for sending the final status, and for the other side to read it. */
export const FINAL_STATUS_MILLIS = 2000;

/** The options of one side for its connections. */
export interface LinkRequest {
	/** Whether this side listens for the other, or connects to it. */
	listens: boolean;
	addresses: Address[];
	/** In total. */
	shards: number;
	/** Whether the stream flows from this side to the other. */
	sends: boolean;
	/** Required by the listening side, sent by the connecting one. */
	token: Buffer | undefined;
	tls: TlsFiles | undefined;
	stallMillis: number;
}

/** A request, and the settings that are the same for every request. */
export interface LinkSettings extends LinkRequest {
	/** How long the connecting side retries. */
	connectMillis: number;
	handshakeMillis: number;
	/** Receives messages about connections that failed or were rejected. */
	warn(message: string): void;
	/** The message about an error that ends this side, for the other one. */
	describe(error: unknown): string;
	/** Called, and awaited, when the other side can connect. */
	listening(): Promise<void>;
	/** Aborting it ends the wait for the other side, with its reason as the error. */
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
		copies: copies(settings),
	}).finish();
}

/** A receiver of ours reads what a socket has (stream/shard-reader.ts), and never moves it on by reference. */
const copies = ({ sends }: Pick<LinkRequest, 'sends'>) => !sends;

/** The content of a valid hello. */
export interface Hello extends OtherSide {
	stream: string;
	shard: number;
}

/** Reads a hello. Throws the reason why it is refused, worded for the other side. */
export function readHello(settings: LinkSettings, message: Uint8Array): Hello {
	let decoded: link.Hello;
	try {
		decoded = link.Hello.decode(message);
	} catch {
		throw new Error('this is a criu-image-streamer that listens, and it was not greeted as one');
	}
	const { version, token, stream, shards, shard, sends, stall_millis, copies } = decoded;
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
	return { stream: Buffer.from(stream).toString('hex'), shard, stallMillis: stall_millis, copies };
}

function tooLong(millis: number): string {
	return `a stall timeout of ${millis} ms is out of range: ${MAX_STALL_MILLIS} ms are the most`;
}

function count(shards: number): string {
	return shards === 1 ? '1 connection' : `${shards} connections`;
}

/** Compares in a time that does not depend on where the secrets differ, or how long they are. */
function sameSecret(a: Uint8Array, b: Uint8Array): boolean {
	const digest = (secret: Uint8Array) => createHash('sha256').update(secret).digest();
	return timingSafeEqual(digest(a), digest(b));
}

/** The answer of a listening side that accepts the connection. */
export function accepted(settings: Pick<LinkRequest, 'stallMillis' | 'sends'>): Uint8Array {
	const { stallMillis } = settings;
	return link.Welcome.encode({ accepted: { stall_millis: stallMillis, copies: copies(settings) } }).finish();
}

/**
 * Refuses a connection, and closes it once the other side has read the reason, or after {@link FINAL_STATUS_MILLIS}: closing
 * a socket with unread input loses its output. Never rejects.
 */
export async function reject(connection: PeerConnection, reason: string): Promise<void> {
	const deadline = Date.now() + FINAL_STATUS_MILLIS;
	try {
		await connection.send(link.Welcome.encode({ refused: { reason } }).finish(), deadline);
		connection.end();
		await connection.drain(deadline);
	} catch {
		// The other side disconnected without reading the reason.
	}
	connection.close();
}

/** The other side refuses permanently: there is no point in retrying. */
export class Refusal extends Error {}

/** The other side of a connection. */
export interface OtherSide {
	/** Silence for this long counts as our end. */
	stallMillis: number;
	/** It is a receiver that holds no reference to a page of ours once it has confirmed the image. */
	copies: boolean;
}

/** Reads the answer of `name`. Throws {@link Refusal}. */
export function readWelcome(name: string, message: Uint8Array): OtherSide {
	let decoded: link.Welcome;
	try {
		decoded = link.Welcome.decode(message);
	} catch {
		throw new Refusal(`${name} speaks another protocol: is it a criu-image-streamer that listens?`);
	}
	if (decoded.refused) throw new Refusal(`${name} refuses: ${boundedText(decoded.refused.reason)}`);
	if (!decoded.accepted)
		throw new Refusal(`${name} gave no answer that is known: use the same release on both sides`);
	const stallMillis = decoded.accepted.stall_millis ?? 0;
	if (stallMillis > MAX_STALL_MILLIS) throw new Refusal(`${name} has ${tooLong(stallMillis)}`);
	return { stallMillis, copies: decoded.accepted.copies ?? false };
}

/** Text from the other side, shortened for a message. */
export function boundedText(text: string | null | undefined): string {
	return (text || 'no reason given').slice(0, 1000);
}

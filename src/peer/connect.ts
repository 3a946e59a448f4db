/** The connecting side. The two sides may be started in any order, so it retries until the other one listens. */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Address } from '../net/address.js';
import { dial } from '../net/sockets.js';
import { unlessAborted } from '../runtime/cancellation.js';
import type { PeerConnection } from './connection.js';
import { hello, type LinkSettings, type OtherSide, Refusal, readWelcome, STREAM_BYTES } from './handshake.js';
import { type ConnectionWrapper, wrapPlain } from './wrapper.js';

/** Pause between two attempts: the first is short, since the other side is often starting at this moment. */
const FIRST_PAUSE_MILLIS = 50;
const MAX_PAUSE_MILLIS = 1000;

const { errno } = constants;
/** Errors that end by themselves when the other side, or the network, comes up. */
const TRANSIENT = new Set<unknown>([
	errno.ECONNREFUSED,
	errno.ENOENT,
	errno.EAGAIN,
	errno.ECONNRESET,
	errno.ECONNABORTED,
	errno.EPIPE,
	errno.ETIMEDOUT,
	errno.EHOSTUNREACH,
	errno.ENETUNREACH,
	errno.ENETDOWN,
	'EAI_AGAIN',
	'ECONNRESET',
	'EPIPE',
]);

/** The connections of a stream after the handshake. */
export interface PeerConnections {
	connections: PeerConnection[];
	other: OtherSide;
}

/** The other side disconnected before it answered: it may be restarting. */
class PeerGone extends Error {}

/**
 * Connects every shard. Throws {@link Refusal}, or an error with the reason why the other side could not be reached in time.
 */
export async function connectPeers(settings: LinkSettings): Promise<PeerConnections> {
	const wrap = settings.tls ? (await import('./tls.js')).clientWrapper(settings.tls) : wrapPlain;
	const stream = randomBytes(STREAM_BYTES);
	const deadline = Date.now() + settings.connectMillis;
	const perAddress = settings.shards / settings.addresses.length;
	const attempt: Attempt = { settings, wrap, stream, deadline, connections: [], abandoned: false };
	const tries = Array.from({ length: settings.shards }, (_, shard) =>
		connectOne(attempt, settings.addresses[Math.floor(shard / perAddress)]!, shard),
	);
	try {
		const { signal } = settings;
		const all = Promise.all(tries);
		const [other] = await (signal ? unlessAborted(signal, all) : all);
		return { connections: attempt.connections, other: other! };
	} catch (error) {
		attempt.abandoned = true;
		for (const connection of attempt.connections) connection?.close();
		await Promise.allSettled(tries);
		throw error;
	}
}

interface Attempt {
	settings: LinkSettings;
	wrap: ConnectionWrapper;
	stream: Buffer;
	deadline: number;
	/** By shard. */
	connections: PeerConnection[];
	/** A shard failed for good. */
	abandoned: boolean;
}

async function connectOne(attempt: Attempt, address: Address, shard: number): Promise<OtherSide> {
	const { settings, deadline } = attempt;
	const name =
		settings.shards > 1 ? `${address.text} (shard ${shard + 1} of ${settings.shards})` : address.text;
	for (let pause = FIRST_PAUSE_MILLIS; ; pause = Math.min(pause * 2, MAX_PAUSE_MILLIS)) {
		try {
			return await connectOnce(attempt, address, name, shard);
		} catch (error) {
			if (attempt.abandoned || !isTransient(error)) throw error;
			if (Date.now() + pause >= deadline) throw gaveUp(settings, error);
			await sleep(pause);
			if (attempt.abandoned) throw error;
		}
	}
}

function gaveUp({ connectMillis }: LinkSettings, cause: unknown): Error {
	const seconds = Math.round(connectMillis / 1000);
	return new Error(
		`gave up after ${seconds} s (start the other side, which has to listen there, or check the address)`,
		{ cause },
	);
}

async function connectOnce(
	attempt: Attempt,
	address: Address,
	name: string,
	shard: number,
): Promise<OtherSide> {
	const { settings, deadline } = attempt;
	const fd = await dial(address, deadline);
	const connection = await attempt.wrap(
		fd,
		name,
		address.kind === 'tcp' ? address.host : 'localhost',
		deadline,
	);
	try {
		if (attempt.abandoned) throw new PeerGone('given up');
		attempt.connections[shard] = connection;
		const helloMessage = hello(settings, attempt.stream, shard);
		await connection.send(helloMessage, deadline);
		const answer = await connection.receive(deadline);
		if (!answer) throw new PeerGone(`${name} closed the connection without an answer`);
		// The kernel may assign the port, when no process listens on it, to the connecting socket itself.
		if (answer.equals(helloMessage))
			throw new PeerGone(`${name} is connected to itself: nothing listens there`);
		return readWelcome(name, answer);
	} catch (error) {
		connection.close();
		throw error;
	}
}

function isTransient(error: unknown): boolean {
	if (error instanceof Refusal) return false;
	if (error instanceof PeerGone) return true;
	const { errno, code } = error as { errno?: number; code?: string };
	return TRANSIENT.has(errno === undefined ? undefined : Math.abs(errno)) || TRANSIENT.has(code);
}

/** The connecting side: the two ends may be started in any order, so it tries until the other one listens. */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Address } from '../net/address.js';
import { dial } from '../net/sockets.js';
import { unlessAborted } from '../runtime/cancellation.js';
import type { PeerConnection } from './connection.js';
import { hello, type LinkSettings, Refusal, readWelcome, STREAM_BYTES } from './handshake.js';
import { type ConnectionWrapper, wrapPlain } from './wrapper.js';

/** Between two tries: the first is short, since the other side is often starting at this moment. */
const FIRST_PAUSE_MILLIS = 50;
const LONGEST_PAUSE_MILLIS = 1000;

const { errno } = constants;
/** What passes by itself when the other side, or the network, comes up. */
const PASSING = new Set<unknown>([
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

/** Connections that the other side has accepted, and the silence that it takes for our end. */
export interface PeerConnections {
	wires: PeerConnection[];
	theirStallMillis: number;
}

/** The other side was there and went before it answered: it may be about to come again. */
class PeerGone extends Error {}

/** Connects every shard. Throws {@link Refusal}, or why the other side could not be reached in time. */
export async function connectPeers(settings: LinkSettings): Promise<PeerConnections> {
	const dress = settings.tls ? (await import('./tls.js')).clientWrapper(settings.tls) : wrapPlain;
	const stream = randomBytes(STREAM_BYTES);
	const deadline = Date.now() + settings.patienceMillis;
	const perAddress = settings.shards / settings.addresses.length;
	const attempt: Attempt = { settings, dress, stream, deadline, wires: [], given: false };
	const tries = Array.from({ length: settings.shards }, (_, shard) =>
		connectOne(attempt, settings.addresses[Math.floor(shard / perAddress)]!, shard),
	);
	try {
		const { signal } = settings;
		const all = Promise.all(tries);
		const stalls = await (signal ? unlessAborted(signal, all) : all);
		return { wires: attempt.wires, theirStallMillis: stalls[0]! };
	} catch (error) {
		attempt.given = true;
		for (const wire of attempt.wires) wire?.close();
		await Promise.allSettled(tries);
		throw error;
	}
}

interface Attempt {
	settings: LinkSettings;
	dress: ConnectionWrapper;
	stream: Buffer;
	deadline: number;
	/** By shard. */
	wires: PeerConnection[];
	/** Given up: a shard failed for good. */
	given: boolean;
}

async function connectOne(attempt: Attempt, address: Address, shard: number): Promise<number> {
	const { settings, deadline } = attempt;
	const name =
		settings.shards > 1 ? `${address.text} (shard ${shard + 1} of ${settings.shards})` : address.text;
	for (let pause = FIRST_PAUSE_MILLIS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MILLIS)) {
		try {
			return await tryOnce(attempt, address, name, shard);
		} catch (error) {
			if (attempt.given || !passes(error)) throw error;
			if (Date.now() + pause < deadline) {
				await sleep(pause);
				if (attempt.given) throw error;
				continue;
			}
			const seconds = Math.round(settings.patienceMillis / 1000);
			throw new Error(
				`gave up after ${seconds} s (start the other side, which has to listen there, or check the address)`,
				{
					cause: error,
				},
			);
		}
	}
}

async function tryOnce(attempt: Attempt, address: Address, name: string, shard: number): Promise<number> {
	const { settings, deadline } = attempt;
	const fd = await dial(address, deadline);
	const wire = await attempt.dress(fd, name, address.kind === 'tcp' ? address.host : 'localhost', deadline);
	try {
		if (attempt.given) throw new PeerGone('given up');
		attempt.wires[shard] = wire;
		const said = hello(settings, attempt.stream, shard);
		await wire.send(said, deadline);
		const answer = await wire.receive(deadline);
		if (!answer) throw new PeerGone(`${name} closed the connection without an answer`);
		// A port of this machine's that nobody listens on can be given to the very connection that asks for it.
		if (answer.equals(said)) throw new PeerGone(`${name} is connected to itself: nobody listens there`);
		return readWelcome(name, answer);
	} catch (error) {
		wire.close();
		throw error;
	}
}

function passes(error: unknown): boolean {
	if (error instanceof Refusal) return false;
	if (error instanceof PeerGone) return true;
	const { errno, code } = error as { errno?: number; code?: string };
	return PASSING.has(errno === undefined ? undefined : Math.abs(errno)) || PASSING.has(code);
}

/** What both kinds of capture have in common: a stream that goes out, and a far end that may say why it failed. */
import type { Session } from '../daemon/session.js';
import { asError } from '../runtime/errors.js';
import type { Outgoing } from '../stream/shard.js';
import { openOutgoing } from '../transports/open.js';

/** Opens the shards of a capture. */
export function openFor(session: Session): Promise<Outgoing> {
	return openOutgoing(session.way, {
		warn: session.log.warn,
		describe: session.describe,
		listening: () => session.ready(),
		signal: session.signal,
	});
}

/** What `work` returns. Where it fails because the far end refused the stream, the far end's error is thrown in place of ours. */
export async function withRemoteError<T>(outgoing: Outgoing, work: () => Promise<T>): Promise<T> {
	try {
		return await work();
	} catch (error) {
		throw (await outgoing.explain?.(asError(error))) ?? error;
	}
}

/** Resolves when the stream is delivered, as far as its transport can tell. */
export async function delivered(outgoing: Outgoing, session: Session): Promise<void> {
	const { silent } = await outgoing.received();
	session.log.info(silent ? 'all bytes are delivered' : 'the receiver has the whole image');
}

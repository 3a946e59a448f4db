/** The other side of control/server.ts: asks one question, and waits for the answer. */
import { connect } from 'node:net';
import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { Deframer, frame } from '../net/frame.js';
import { control } from '../proto/messages.js';

/** Longer than any reason that a streamer gives. */
const MAX_ANSWER_BYTES = 64 * 1024;
/** What a living streamer needs to answer at most, once asked to stop. */
const LAST_WORD_MILLIS = 2000;
/** Until a streamer takes the next connections, where more wait than the kernel keeps for it. */
const BUSY_MILLIS = 20;

export type Reply =
	| { kind: 'done' }
	| { kind: 'failed'; reason: string }
	/** The streamer serves other CRIUs. */
	| { kind: 'refused'; reason: string }
	/** Nobody listens: there is no such socket, or its maker is dead. */
	| { kind: 'absent' }
	/** A connection is not possible, for a reason (an errno) that waiting does not change. */
	| { kind: 'barred'; errno: number }
	/** The streamer was there, and went without an answer. */
	| { kind: 'lost' };

const { EAGAIN, ECONNREFUSED, ENOENT } = constants.errno;

/**
 * Asks the streamer that listens at `path` (at most 107 bytes). When `enough` aborts, the question is withdrawn: a streamer
 * that had not answered by then knows that nobody waits any more, and the reply is its last word.
 */
export async function ask(
	path: string,
	question: control.Question.$Properties,
	enough: AbortSignal,
): Promise<Reply> {
	for (;;) {
		const reply = await askOnce(path, question, enough);
		if (reply.kind !== 'barred' || reply.errno !== EAGAIN) return reply;
		if (enough.aborted) return { kind: 'lost' };
		await delay(BUSY_MILLIS);
	}
}

function askOnce(path: string, question: control.Question.$Properties, enough: AbortSignal): Promise<Reply> {
	return new Promise((resolve) => {
		const messages = new Deframer(path, MAX_ANSWER_BYTES);
		const socket = connect({ path, allowHalfOpen: true });
		let connected = false;
		let timer: NodeJS.Timeout | undefined;
		const withdraw = () => {
			socket.end();
			timer = setTimeout(() => socket.destroy(), LAST_WORD_MILLIS);
		};
		const settle = (reply: Reply) => {
			clearTimeout(timer);
			enough.removeEventListener('abort', withdraw);
			socket.destroy();
			resolve(reply);
		};
		socket.on('connect', () => {
			connected = true;
			socket.write(frame(control.Question.encode(question).finish()));
		});
		socket.on('data', (bytes) => {
			try {
				messages.push(bytes as Buffer);
				const message = messages.next();
				if (message) settle(replyOf(message));
			} catch (error) {
				settle({ kind: 'failed', reason: (error as Error).message });
			}
		});
		socket.on('error', (error) => settle(connected ? { kind: 'lost' } : unconnected(error)));
		socket.on('end', () => settle({ kind: 'lost' }));
		socket.on('close', () => settle({ kind: 'lost' }));
		if (enough.aborted) withdraw();
		else enough.addEventListener('abort', withdraw, { once: true });
	});
}

function unconnected(error: NodeJS.ErrnoException): Reply {
	const errno = Math.abs(error.errno ?? 0);
	return errno === ENOENT || errno === ECONNREFUSED ? { kind: 'absent' } : { kind: 'barred', errno };
}

function replyOf(message: Uint8Array): Reply {
	const { done, failed, refused } = control.Answer.decode(message);
	if (done) return { kind: 'done' };
	if (failed) return { kind: 'failed', reason: failed.reason || 'it did not say why' };
	if (refused) return { kind: 'refused', reason: refused.reason || 'it did not say why' };
	throw new Error('it gave an answer that this version does not know');
}

/** The client of control/server.ts: sends one question, and waits for the answer. */
import { connect } from 'node:net';
import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { Deframer, frame } from '../net/frame.js';
import { control } from '../proto/messages.js';

/** Larger than any answer that a streamer sends. */
const MAX_ANSWER_BYTES = 64 * 1024;
/** Time limit for the answer to a question that was withdrawn. */
const FINAL_ANSWER_MILLIS = 2000;
/** Pause between two attempts while the streamer's queue of connections is full. */
const BUSY_MILLIS = 20;

export type Reply =
	| { kind: 'done' }
	| { kind: 'failed'; reason: string }
	/** The streamer serves other CRIUs. */
	| { kind: 'refused'; reason: string }
	/** There is no such socket, or the process that made it has ended. */
	| { kind: 'absent' }
	/** Connecting failed for a reason (an errno) that waiting does not change. */
	| { kind: 'inaccessible'; errno: number }
	/** The streamer closed the connection without an answer. */
	| { kind: 'lost' };

const { EAGAIN, ECONNREFUSED, ENOENT } = constants.errno;

/**
 * Asks the streamer that listens at `path` (at most 107 bytes). When `cancel` aborts, the question is withdrawn: a streamer
 * that had not answered by then learns that the script gives up, and the reply is its final answer.
 */
export async function ask(
	path: string,
	question: control.Question.$Properties,
	cancel: AbortSignal,
): Promise<Reply> {
	for (;;) {
		const reply = await askOnce(path, question, cancel);
		if (reply.kind !== 'inaccessible' || reply.errno !== EAGAIN) return reply;
		if (cancel.aborted) return { kind: 'lost' };
		await delay(BUSY_MILLIS);
	}
}

function askOnce(path: string, question: control.Question.$Properties, cancel: AbortSignal): Promise<Reply> {
	return new Promise((resolve) => {
		const messages = new Deframer(path, MAX_ANSWER_BYTES);
		const socket = connect({ path, allowHalfOpen: true });
		let connected = false;
		let timer: NodeJS.Timeout | undefined;
		const withdraw = () => {
			socket.end();
			timer = setTimeout(() => socket.destroy(), FINAL_ANSWER_MILLIS);
		};
		const settle = (reply: Reply) => {
			clearTimeout(timer);
			cancel.removeEventListener('abort', withdraw);
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
		socket.on('error', (error) => settle(connected ? { kind: 'lost' } : connectionFailure(error)));
		socket.on('end', () => settle({ kind: 'lost' }));
		socket.on('close', () => settle({ kind: 'lost' }));
		if (cancel.aborted) withdraw();
		else cancel.addEventListener('abort', withdraw, { once: true });
	});
}

function connectionFailure(error: NodeJS.ErrnoException): Reply {
	const errno = Math.abs(error.errno ?? 0);
	return errno === ENOENT || errno === ECONNREFUSED ? { kind: 'absent' } : { kind: 'inaccessible', errno };
}

function replyOf(message: Uint8Array): Reply {
	const { done, failed, refused } = control.Answer.decode(message);
	if (done) return { kind: 'done' };
	if (failed) return { kind: 'failed', reason: failed.reason || 'it did not say why' };
	if (refused) return { kind: 'refused', reason: refused.reason || 'it did not say why' };
	throw new Error('it gave an answer that this version does not know');
}

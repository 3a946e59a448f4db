/** The other side of control/server.ts: asks one question, and waits for the answer. */
import { connect } from 'node:net';
import { control } from '../proto/messages.js';
import { Deframer, frame } from '../wire/frame.js';

/** Longer than any reason that a streamer gives. */
const MOST_ANSWER_BYTES = 64 * 1024;
/** What a living streamer needs to answer at most, once asked to stop. */
const LAST_WORD_MILLIS = 2000;

export type Reply =
	| { kind: 'done' }
	| { kind: 'failed'; reason: string }
	/** Nobody listens: there is no such socket, or whoever made it is dead. */
	| { kind: 'absent' }
	/** The streamer was there, and went without an answer. */
	| { kind: 'lost' };

/**
 * Asks the streamer that listens at `path` (at most 107 bytes). When `enough` aborts, the question is withdrawn: a streamer
 * that had not answered by then knows that nobody waits any more, and the reply is its last word.
 */
export function ask(
	path: string,
	question: control.Question.$Properties,
	enough: AbortSignal,
): Promise<Reply> {
	return new Promise((resolve) => {
		const messages = new Deframer(path, MOST_ANSWER_BYTES);
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
		socket.on('error', () => settle({ kind: connected ? 'lost' : 'absent' }));
		socket.on('end', () => settle({ kind: 'lost' }));
		socket.on('close', () => settle({ kind: 'lost' }));
		if (enough.aborted) withdraw();
		else enough.addEventListener('abort', withdraw, { once: true });
	});
}

function replyOf(message: Uint8Array): Reply {
	const answer = control.Answer.decode(message);
	if (answer.done) return { kind: 'done' };
	if (answer.failed) return { kind: 'failed', reason: answer.failed.reason || 'it did not say why' };
	throw new Error('it gave an answer that this version does not know');
}

/** The question of an action script to a capture, with the moment from which the capture has it. */
import { once } from 'node:events';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { buffer, write } from '../../src/libc/calls.js';
import { throwIfError } from '../../src/libc/errno.js';
import { Deframer, frame } from '../../src/net/frame.js';
import { connectUnix } from '../../src/net/unix-socket.js';
import { control } from '../../src/proto/messages.js';
import { unsent } from '../../src/stream/drained.js';
import { afterwards } from './cleanup.js';
import { until } from './until.js';

/** Longer than any reason that a capture gives. */
const MAX_ANSWER_BYTES = 64 * 1024;

/** Asks the capture in `work` whether its stream is out. Resolves once it has read the question. */
export async function askFinished(work: string): Promise<{ reason(): Promise<string> }> {
	const path = join(work, 'streamer-capture-control.sock');
	const fd = throwIfError(connectUnix(path), `cannot connect to ${path}`);
	const question = frame(control.Question.encode({ finished: {} }).finish());
	const bytes = buffer(question.length);
	bytes.set(question);
	throwIfError(write(fd, bytes, bytes.length), 'cannot ask');
	await until('the question to be read', () => unsent(fd, 'socket') === 0);
	const socket = new Socket({ fd, readable: true, writable: true });
	afterwards(() => socket.destroy());
	return {
		/** Why the stream failed. */
		async reason() {
			const answers = new Deframer('the capture', MAX_ANSWER_BYTES);
			for (;;) {
				const answer = answers.next();
				if (answer) return control.Answer.decode(answer).failed?.reason ?? 'it did not fail';
				answers.push((await once(socket, 'data'))[0]);
			}
		},
	};
}

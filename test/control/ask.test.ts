/** The action script's side of a question: an unknown answer is a failure, never a success. */
import { createServer } from 'node:net';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { ask, type Reply } from '../../src/control/ask.js';
import { frame } from '../../src/net/frame.js';
import { control } from '../../src/proto/messages.js';
import { afterwards } from '../support/cleanup.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';

const test = suite('an answer to the action script');

/** Asks a streamer that answers with `bytes`, in pieces of one byte. */
async function answered(bytes: Uint8Array): Promise<Reply> {
	const path = join(temporaryDirectory(), 'socket');
	const server = createServer((socket) => {
		socket.on('error', () => {});
		for (const byte of bytes) socket.write(Buffer.of(byte));
	});
	afterwards(() => server.close());
	await new Promise<void>((resolve) => server.listen(path, resolve));
	return await ask(path, { finished: {} }, new AbortController().signal);
}

const answerOf = (answer: control.Answer.$Properties) => frame(control.Answer.encode(answer).finish());

test('that the stream is delivered', async () =>
	assert.equal(await answered(answerOf({ done: {} })), { kind: 'done' }));

test('that the stream failed, with and without a reason', async () => {
	assert.equal(await answered(answerOf({ failed: { reason: 'disk full' } })), {
		kind: 'failed',
		reason: 'disk full',
	});
	assert.equal(await answered(answerOf({ failed: {} })), {
		kind: 'failed',
		reason: 'it did not say why',
	});
});

const refused: [what: string, bytes: Uint8Array, reason: RegExp][] = [
	['without a body', frame(Buffer.alloc(0)), /does not know/],
	['with an unknown body', frame(Buffer.of(0x22, 0)), /does not know/],
	['that cannot be decoded', frame(Buffer.of(255, 255, 255)), /./],
	['that is too long', Buffer.of(1, 0, 1, 0), /message of 65537 bytes; 65536 are the most/],
];
for (const [what, bytes, reason] of refused) {
	test(`an answer ${what} is a failure`, async () => {
		const reply = await answered(bytes);
		assert.is(reply.kind, 'failed');
		assert.match((reply as { reason: string }).reason, reason);
	});
}

test.run();

/** The connecting side: how long it tries, and which answers it takes. */
import * as assert from 'uvu/assert';
import { frame } from '../../src/net/frame.js';
import { tcpAddress, unixAddress } from '../support/addresses.js';
import { suite } from '../support/suite.js';
import { failureOf, sender } from './drive.js';
import { listenRaw } from './raw.js';

const test = suite('a connecting side');

test('gives up in time, and says what to do', async () => {
	const tcp = await tcpAddress();
	for (const address of [tcp, unixAddress()]) {
		const failure = failureOf(sender({ connect: [address] }, { patienceMillis: 300 }));
		const error = await failure;
		assert.match(error.message, /^gave up after/);
		assert.match(error.message, /start the other side with --listen/);
		assert.match((error.cause as Error).message, /^cannot connect to .*(ECONNREFUSED|ENOENT)/);
	}
});

test('tries again when the other side hangs up before it answers', async () => {
	const { address } = await listenRaw((socket) => socket.destroy());
	const error = await failureOf(sender({ connect: [address] }, { patienceMillis: 300 }));
	assert.match(error.message, /^gave up/);
	assert.match((error.cause as Error).message, /closed the connection without an answer|ECONNRESET|EPIPE/);
});

test('does not wait for a server that speaks something else', async () => {
	const { address } = await listenRaw((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
	assert.match((await failureOf(sender({ connect: [address] }))).message, /unix:.* speaks another protocol/);
});

test('does not take an answer that it does not know for a yes', async () => {
	for (const [answer, expected] of [
		[Buffer.alloc(0), /unix:.* gave no answer that is known/],
		[Buffer.of(255, 255, 255), /unix:.* speaks another protocol/],
	] as const) {
		const { address } = await listenRaw((socket) => socket.write(frame(answer)));
		assert.match((await failureOf(sender({ connect: [address] }))).message, expected);
	}
});

test('does not wait for ever for a server that says nothing', async () => {
	const { address } = await listenRaw(() => {});
	const error = await failureOf(sender({ connect: [address] }, { patienceMillis: 300 }));
	assert.match(error.message, /unix:.* is silent/);
});

test('a name that no host has is an error at once', async () => {
	const error = await failureOf(
		sender({ connect: ['tcp://no-such-host.invalid:7000'] }, { patienceMillis: 300 }),
	);
	const text = `${error.message} ${(error.cause as Error | undefined)?.message}`;
	assert.match(text, /there is no host no-such-host.invalid/);
});

test.run();

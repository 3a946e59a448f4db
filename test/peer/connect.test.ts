/** The connecting side: how long it tries, and which answers it takes. */
import * as assert from 'uvu/assert';
import { frame } from '../../src/net/frame.js';
import { tcpAddress, unixAddress } from '../support/addresses.js';
import { failureOf } from '../support/failure.js';
import { suite } from '../support/suite.js';
import { sender } from './drive.js';
import { listenRaw } from './raw.js';

const test = suite('a connecting side');

test('gives up in time, with an error that has the cure', async () => {
	const tcp = await tcpAddress();
	for (const address of [tcp, unixAddress()]) {
		const failure = failureOf(sender({ connect: [address] }, { connectMillis: 300 }));
		const error = await failure;
		assert.match(error.message, /^gave up after/);
		assert.match(error.message, /start the other side, which has to listen there/);
		assert.match((error.cause as Error).message, /^cannot connect to .*(ECONNREFUSED|ENOENT)/);
	}
});

test('retries when the other side disconnects before it answers', async () => {
	const { address } = await listenRaw((socket) => socket.destroy());
	const error = await failureOf(sender({ connect: [address] }, { connectMillis: 300 }));
	assert.match(error.message, /^gave up/);
	assert.match((error.cause as Error).message, /closed the connection without an answer|ECONNRESET|EPIPE/);
});

test('does not wait for a server with another protocol', async () => {
	const { address } = await listenRaw((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
	assert.match((await failureOf(sender({ connect: [address] }))).message, /unix:.* speaks another protocol/);
});

test('does not treat an unknown answer as acceptance', async () => {
	for (const [answer, expected] of [
		[Buffer.alloc(0), /unix:.* gave no answer that is known/],
		[Buffer.of(255, 255, 255), /unix:.* speaks another protocol/],
	] as const) {
		const { address } = await listenRaw((socket) => socket.write(frame(answer)));
		assert.match((await failureOf(sender({ connect: [address] }))).message, expected);
	}
});

test('does not wait without limit for a server that sends nothing', async () => {
	const { address } = await listenRaw(() => {});
	const error = await failureOf(sender({ connect: [address] }, { connectMillis: 300 }));
	assert.match(error.message, /unix:.* is silent/);
});

test('an unknown host name is an error at once', async () => {
	const error = await failureOf(
		sender({ connect: ['tcp://no-such-host.invalid:7000'] }, { connectMillis: 300 }),
	);
	const text = `${error.message} ${(error.cause as Error | undefined)?.message}`;
	assert.match(text, /there is no host no-such-host.invalid/);
});

test.run();

/** The listening side: which connections it takes, and what it says to the others. */
import { writeFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { VERSION } from '../../src/peer/handshake.js';
import { unixAddress } from '../support/addresses.js';
import { afterwards } from '../support/cleanup.js';
import { failureOf } from '../support/failure.js';
import { freePort } from '../support/free-port.js';
import { tokenFile } from '../support/secrets.js';
import { suite } from '../support/suite.js';
import { carry, receiver, sender } from './drive.js';
import { closed, helloWith, open, sendRaw } from './raw.js';

const test = suite('a listener');

const invalidHellos: [what: string, bytes: () => Uint8Array, reason: RegExp | undefined][] = [
	['a wrong token', () => helloWith({ token: Buffer.from('secreT') }), /the token is wrong/],
	['a longer token', () => helloWith({ token: Buffer.from('secret\n') }), /the token is wrong/],
	[
		'no token',
		() => helloWith({ token: Buffer.alloc(0) }),
		/a token is needed here: give the same token on both sides/,
	],
	['another version', () => helloWith({ version: VERSION + 1 }), /speaks version 2, this side 1/],
	['no stream', () => helloWith({ stream: Buffer.alloc(3) }), /names no stream/],
	['a second receiver', () => helloWith({ sends: false }), /both sides read/],
	[
		'another number of shards',
		() => helloWith({ shards: 4 }),
		/4 connections cannot meet 1 connection: give the same number of shards/,
	],
	['a shard that does not exist', () => helloWith({ shard: 1 }), /no shard 1 among 1/],
	[
		'a stall timeout that is too long for a timer',
		() => helloWith({ stall_millis: 2_147_483_001 }),
		/2147483001 ms is out of range/,
	],
	['a browser', () => Buffer.from('GET / HTTP/1.1\r\n\r\n'), /another protocol/],
	['noise', () => Buffer.from('0400000080ffffff', 'hex'), /not greeted as one/],
	['an empty message', () => Buffer.alloc(4), /speaks version 0/],
	['half a message', () => helloWith().subarray(0, 20), undefined],
];
for (const [what, bytes, reason] of invalidHellos) {
	test(`refuses ${what}, and then accepts a valid connection`, async () => {
		const address = unixAddress();
		const warnings: string[] = [];
		const given = { 'token-file': tokenFile() };
		const limits = { warn: (text: string) => warnings.push(text) };
		const incoming = receiver({ listen: [address], ...given }, limits);
		if (reason) assert.match((await sendRaw(address, bytes())) ?? '', reason);
		else {
			const socket = await open(address);
			socket.end(bytes());
			await closed(socket);
		}
		const outgoing = sender({ connect: [address], ...given });
		await carry(await outgoing, await incoming);
		assert.is(warnings.length, 1);
		assert.match(warnings[0]!, /^refused a connection from unix:.*\(process \d+\)/);
	});
}

test('does not wait for a client that sends nothing, or its hello byte by byte', async () => {
	const address = unixAddress();
	const incoming = receiver({ listen: [address] }, { handshakeMillis: 500 });
	const silent = await open(address);
	const slow = await open(address);
	const bytes = helloWith({ token: Buffer.alloc(0) });
	let sent = 0;
	const timer = setInterval(() => slow.write(bytes.subarray(sent, ++sent)), 100);
	afterwards(() => clearInterval(timer));
	// Both are closed although this side never ends them.
	await Promise.all([silent, slow].map(closed));
	const outgoing = sender({ connect: [address] });
	await Promise.all([incoming, outgoing]);
});

test('accepts valid connections while other clients hold connections open', async () => {
	const address = unixAddress();
	const incoming = receiver({ listen: [address], shards: '4' });
	for (let i = 0; i < 20; i++) await open(address);
	const outgoing = sender({ connect: [address], shards: '4' });
	await carry(await outgoing, await incoming);
});

test('does not mix the shards of two runs', async () => {
	const address = unixAddress();
	const incoming = receiver({ listen: [address], shards: '2' });
	const first = await open(address);
	first.write(helloWith({ shards: 2, token: Buffer.alloc(0) }));
	const other = Buffer.alloc(16, 8);
	const second = helloWith({ shards: 2, shard: 1, stream: other, token: Buffer.alloc(0) });
	const reason = await sendRaw(address, second);
	assert.match(reason ?? '', /another stream is being connected, from unix:/);
	const twice = helloWith({ shards: 2, shard: 0, token: Buffer.alloc(0) });
	assert.match((await sendRaw(address, twice)) ?? '', /shard 1 of this stream is connected already/);
	// The first run ends before it is complete: the next one takes its place.
	first.destroy();
	const outgoing = sender({ connect: [address], shards: '2' });
	await outgoing.catch(() => {});
	await carry(await outgoing, await incoming);
});

test('closes a connection that sends data before it was answered', async () => {
	const address = unixAddress();
	const incoming = receiver({ listen: [address], shards: '2' });
	const eager = await open(address);
	eager.write(helloWith({ shards: 2, token: Buffer.alloc(0) }));
	eager.write('the stream, already');
	await closed(eager);
	await carry(await sender({ connect: [address], shards: '2' }), await incoming);
});

test('sends the connecting side the reason of a refusal', async () => {
	const address = unixAddress();
	const incoming = receiver({ listen: [address], 'token-file': tokenFile() });
	const wrong = failureOf(sender({ connect: [address], 'token-file': tokenFile('other') }));
	assert.match(
		(await wrong).message,
		/^unix:.* refuses: the token is wrong: give the same token on both sides$/,
	);
	const none = failureOf(sender({ connect: [address] }));
	assert.match((await none).message, /refuses: a token is needed here/);
	const more = failureOf(sender({ connect: [address], 'token-file': tokenFile(), shards: '3' }));
	assert.match((await more).message, /refuses: 3 connections cannot meet 1 connection/);
	const same = failureOf(receiver({ connect: [address], 'token-file': tokenFile() }));
	assert.match((await same).message, /refuses: both sides read/);
	await carry(await sender({ connect: [address], 'token-file': tokenFile() }), await incoming);
});

test('does not listen at an address that is in use', async () => {
	const address = unixAddress();
	const path = address.slice('unix:'.length);
	void receiver({ listen: [address] }).catch(() => {});
	await open(address);
	assert.match(
		(await failureOf(receiver({ listen: [address] }))).message,
		/is in use by .*, or choose another address$/,
	);
	await sender({ connect: [address] });
	writeFileSync(path, 'a file');
	assert.match((await failureOf(receiver({ listen: [address] }))).message, /exists and is not a socket/);
	const port = await freePort();
	const tcp = `tcp://127.0.0.1:${port}`;
	const first = receiver({ listen: [tcp] });
	const error = await failureOf(receiver({ listen: [tcp] }));
	assert.match(error.message, new RegExp(`^cannot listen at ${tcp}: address already in use`));
	await Promise.all([first, sender({ connect: [tcp] })]);
});

test.run();

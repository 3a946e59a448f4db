/** The listening side: which connections it takes, and what it says to the others. */
import { writeFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { VERSION } from '../../src/peer/handshake.js';
import { unixAddress } from '../support/addresses.js';
import { afterwards } from '../support/cleanup.js';
import { freePort } from '../support/free-port.js';
import { tokenFile } from '../support/secrets.js';
import { suite } from '../support/suite.js';
import { carry, failureOf, receiver, sender } from './drive.js';
import { closed, greeting, open, sendRaw } from './raw.js';

const test = suite('a listener');

const strangers: [what: string, bytes: () => Uint8Array, reason: RegExp | undefined][] = [
	['a wrong token', () => greeting({ token: Buffer.from('secreT') }), /the token is wrong/],
	['a longer token', () => greeting({ token: Buffer.from('secret\n') }), /the token is wrong/],
	['no token', () => greeting({ token: Buffer.alloc(0) }), /a token is needed here.*--token-file/],
	['another version', () => greeting({ version: VERSION + 1 }), /speaks version 2, this side 1/],
	['no stream', () => greeting({ stream: Buffer.alloc(3) }), /names no stream/],
	['a second receiver', () => greeting({ sends: false }), /both sides read/],
	[
		'another number of shards',
		() => greeting({ shards: 4 }),
		/4 connections cannot meet 1 connection.*--shards/,
	],
	['a shard that is none', () => greeting({ shard: 1 }), /no shard 1 among 1/],
	[
		'silence that no timer counts',
		() => greeting({ stall_millis: 2_147_483_001 }),
		/2147483001 ms is out of range/,
	],
	['a browser', () => Buffer.from('GET / HTTP/1.1\r\n\r\n'), /another protocol/],
	['noise', () => Buffer.from('0400000080ffffff', 'hex'), /not greeted as one/],
	['an empty message', () => Buffer.alloc(4), /speaks version 0/],
	['half a message', () => greeting().subarray(0, 20), undefined],
];
for (const [what, bytes, reason] of strangers) {
	test(`refuses ${what}, and takes the right one after it`, async () => {
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

test('does not wait for one that connects and says nothing, or its hello byte by byte', async () => {
	const address = unixAddress();
	const incoming = receiver({ listen: [address] }, { handshakeMillis: 500 });
	const silent = await open(address);
	const slow = await open(address);
	const bytes = greeting({ token: Buffer.alloc(0) });
	let sent = 0;
	const timer = setInterval(() => slow.write(bytes.subarray(sent, ++sent)), 100);
	afterwards(() => clearInterval(timer));
	// Both are closed though this side never ends them.
	await Promise.all([silent, slow].map(closed));
	const outgoing = sender({ connect: [address] });
	await Promise.all([incoming, outgoing]);
});

test('takes the good ones while strangers hold connections open', async () => {
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
	first.write(greeting({ shards: 2, token: Buffer.alloc(0) }));
	const other = Buffer.alloc(16, 8);
	const second = greeting({ shards: 2, shard: 1, stream: other, token: Buffer.alloc(0) });
	const reason = await sendRaw(address, second);
	assert.match(reason ?? '', /another stream is being connected, from unix:/);
	const twice = greeting({ shards: 2, shard: 0, token: Buffer.alloc(0) });
	assert.match((await sendRaw(address, twice)) ?? '', /shard 1 of this stream is connected already/);
	// The first run dies before it is complete: the next one gets its place.
	first.destroy();
	const outgoing = sender({ connect: [address], shards: '2' });
	await outgoing.catch(() => {});
	await carry(await outgoing, await incoming);
});

test('closes one that goes on before it was answered', async () => {
	const address = unixAddress();
	const incoming = receiver({ listen: [address], shards: '2' });
	const eager = await open(address);
	eager.write(greeting({ shards: 2, token: Buffer.alloc(0) }));
	eager.write('the stream, already');
	await closed(eager);
	await carry(await sender({ connect: [address], shards: '2' }), await incoming);
});

test('tells the connecting side what it refuses', async () => {
	const address = unixAddress();
	const incoming = receiver({ listen: [address], 'token-file': tokenFile() });
	const wrong = failureOf(sender({ connect: [address], 'token-file': tokenFile('other') }));
	assert.match(
		(await wrong).message,
		/^unix:.* refuses: the token is wrong: give the same --token-file on both sides$/,
	);
	const none = failureOf(sender({ connect: [address] }));
	assert.match((await none).message, /refuses: a token is needed here/);
	const more = failureOf(sender({ connect: [address], 'token-file': tokenFile(), shards: '3' }));
	assert.match((await more).message, /refuses: 3 connections cannot meet 1 connection/);
	const same = failureOf(receiver({ connect: [address], 'token-file': tokenFile() }));
	assert.match((await same).message, /refuses: both sides read/);
	await carry(await sender({ connect: [address], 'token-file': tokenFile() }), await incoming);
});

test('does not take an address that is in use', async () => {
	const address = unixAddress();
	const path = address.slice('unix:'.length);
	void receiver({ listen: [address] }).catch(() => {});
	await open(address);
	assert.match((await failureOf(receiver({ listen: [address] }))).message, /is in use by/);
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

import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { createServer, connect as netConnect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { poller } from '../../src/libc/poller.js';
import { parseAddress } from '../../src/net/address.js';
import { Deframer, frame } from '../../src/net/frame.js';
import { acceptAt, incoming as arrival, listenAt } from '../../src/net/sockets.js';
import { accepted, hello, type LinkSettings, VERSION } from '../../src/peer/handshake.js';
import { link } from '../../src/proto/messages.js';
import { codeOf } from '../../src/runtime/errors.js';
import type { Incoming, Outgoing } from '../../src/stream/shard.js';
import { afterwards } from '../support/cleanup.js';
import { freePort } from '../support/free-port.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';
import { carry, failureOf, type Given, onceListening, readAll, receiver, sender, writeAll } from './drive.js';

const unixAddress = () => `unix:${join(temporaryDirectory(), 'socket')}`;
const places: [what: string, address: () => Promise<string> | string][] = [
	['a UNIX socket', unixAddress],
	['TCP', async () => `tcp://127.0.0.1:${await freePort()}`],
	['TCP to this host, unnamed', async () => `tcp://:${await freePort()}`],
	['TCP by name', async () => `tcp://localhost:${await freePort()}`],
	['TCP over IPv6', async () => `tcp://[::1]:${await freePort()}`],
];

const carrying = suite('streams over connections');

for (const [what, where] of places) {
	for (const listens of ['the receiver', 'the sender']) {
		for (const first of ['listening', 'connecting']) {
			carrying(`${what}: ${listens} listens, the ${first} side starts first`, async () => {
				const address = await where();
				const [there, here] = listens === 'the receiver' ? ['listen', 'connect'] : ['connect', 'listen'];
				const receiverFirst = (there === 'listen') === (first === 'listening');
				const start = {
					sender: (limits = {}) => sender({ [here]: [address] }, limits),
					receiver: (limits = {}) => receiver({ [there]: [address] }, limits),
				};
				const [early, late] = receiverFirst
					? ([start.receiver, start.sender] as const)
					: ([start.sender, start.receiver] as const);
				const started =
					first === 'listening'
						? await onceListening<Outgoing | Incoming>(early)
						: await firstTry<Outgoing | Incoming>(address, early);
				const [a, b] = await Promise.all([started.side, late()]);
				const [outgoing, incoming] = (receiverFirst ? [b, a] : [a, b]) as [Outgoing, Incoming];
				assert.is(outgoing.shards.length, 1);
				assert.ok(outgoing.shards[0]!.name.startsWith(what.startsWith('TCP') ? 'tcp://' : 'unix:/'));
				await carry(outgoing, incoming);
			});
		}
	}
}

/** Starts a connecting side; resolves when its first attempt has failed. */
async function firstTry<T>(address: string, start: () => Promise<T>): Promise<{ side: Promise<T> }> {
	const listener = await listenAt(parseAddress('--listen', address));
	const side = start();
	await arrival(listener);
	const tried = acceptAt(listener);
	listener.close();
	assert.is.not(typeof tried, 'number');
	poller.close((tried as { fd: number }).fd);
	return { side };
}

async function linked(given: Given = {}, one: Given = {}, other: Given = {}): Promise<[Outgoing, Incoming]> {
	const address = unixAddress();
	return await Promise.all([
		sender({ connect: [address], ...given, ...one }),
		receiver({ listen: [address], ...given, ...other }),
	]);
}

carrying('several connections to several addresses', async () => {
	const addresses = [unixAddress(), `tcp://127.0.0.1:${await freePort()}`];
	const [outgoing, incoming] = await Promise.all([
		sender({ connect: addresses, shards: '3' }),
		receiver({ listen: addresses, shards: '3' }),
	]);
	assert.is(outgoing.shards.length, 6);
	assert.is(new Set(outgoing.shards.map(({ name }) => name)).size, 6);
	await carry(outgoing, incoming);
});

carrying('the maximum number of connections of a stream', async () => {
	const [outgoing, incoming] = await linked({ shards: '32' });
	const reading = Promise.all(incoming.shards.map(readAll));
	for (const shard of outgoing.shards) await writeAll(shard, Buffer.from(shard.name));
	const received = outgoing.received();
	assert.equal(
		(await reading).map(String),
		outgoing.shards.map(({ name }) => name),
	);
	await incoming.acknowledge();
	await received;
});

carrying('the default stall timeout is a minute', async () => {
	const [outgoing, incoming] = await linked();
	assert.is(outgoing.shards[0]!.stallMillis, 60_000);
	assert.is(incoming.shards[0]!.stallMillis, 60_000);
	const [other] = await linked({ 'stall-timeout': '0' });
	assert.is(other.shards[0]!.stallMillis, 0);
});

carrying('the path of a UNIX socket is removed once the sides are connected', async () => {
	const address = unixAddress();
	await Promise.all([sender({ connect: [address] }), receiver({ listen: [address] })]);
	assert.not(existsSync(address.slice('unix:'.length)));
});

carrying.run();

const failing = suite('a stream that fails');

failing('the receiver’s reason reaches a sender in the middle of its writing', async () => {
	const [outgoing, incoming] = await linked();
	const writing = failureOf(writeAll(outgoing.shards[0]!, Buffer.alloc(64 << 20)));
	await incoming.close(new Error('cannot write pages-1.img: no space left'));
	const error = await outgoing.explain!(await writing);
	assert.match(error.message, /^the receiver at unix:.* says: cannot write pages-1.img: no space left$/);
	await outgoing.close(error);
});

failing('the receiver’s reason reaches a sender that waits for the receipt', async () => {
	const [outgoing, incoming] = await linked({ shards: '3' });
	const received = failureOf(outgoing.received());
	await Promise.all(incoming.shards.map(readAll));
	await incoming.close(new Error('a gap in the stream'));
	assert.match((await received).message, /says: a gap in the stream$/);
});

failing('a receiver that disconnects without a receipt is an error that names it', async () => {
	const [outgoing, incoming] = await linked();
	const received = failureOf(outgoing.received());
	await readAll(incoming.shards[0]!);
	await incoming.close();
	assert.match(
		(await received).message,
		/unix:.* closed the connection before it said that it has the image/,
	);
});

failing('a receiver that has disconnected is reported by the next write', async () => {
	const [outgoing, incoming] = await linked({ shards: '2' });
	await incoming.close();
	const error = await failureOf(writeAll(outgoing.shards[1]!, Buffer.alloc(64 << 20)));
	assert.match(error.message, /EPIPE|ECONNRESET/);
	assert.match((await outgoing.explain!(error)).message, /closed the connection before/);
});

failing('an error that the other side has no reason for is unchanged', async () => {
	const [outgoing] = await linked();
	const error = new Error('CRIU went away');
	assert.is(await outgoing.explain!(error), error);
});

failing('a receipt that the sender cannot receive any more is an error for the receiver', async () => {
	const [outgoing, incoming] = await linked();
	await outgoing.close();
	await readAll(incoming.shards[0]!);
	assert.match((await failureOf(incoming.acknowledge())).message, /whole, but its sender unix:.* is gone/);
});

failing('closing twice, or after the receipt, does nothing', async () => {
	const [outgoing, incoming] = await linked();
	await carry(outgoing, incoming);
	await incoming.close(new Error('too late'));
	await outgoing.close();
	await outgoing.close();
	await incoming.close();
});

failing('a receiver that is slow but alive is waited for', async () => {
	const [outgoing, incoming] = await linked({}, { 'stall-timeout': '3' });
	const received = outgoing.received();
	await readAll(incoming.shards[0]!);
	// Far longer than the stall timeout.
	await sleep(7000);
	await incoming.acknowledge();
	assert.equal(await received, { silent: false });
});

failing('a receiver that is silent when it should answer is named', async () => {
	const { address } = await listenAsOther((socket) => {
		socket.write(frame(accepted(0)));
		socket.resume();
	});
	const outgoing = await sender({ connect: [address], 'stall-timeout': '1' });
	const error = await failureOf(outgoing.received());
	assert.match(error.message, /^the receiver at unix:.* was silent for 1 s .*: look whether it still runs$/);
	assert.is(codeOf(error), 'STALLED');
});

failing('a receipt that cannot be read is an error that names the receiver', async () => {
	const { address } = await listenAsOther((socket) => {
		socket.write(frame(accepted(0)));
		socket.write(frame(Buffer.of(0xff, 0xff)));
	});
	const outgoing = await sender({ connect: [address] });
	const error = await failureOf(outgoing.received());
	assert.match(error.message, /^the receiver at unix:.* sent a message that is no receipt/);
});

failing('a receipt before the end of the stream is an error', async () => {
	const { address } = await listenAsOther((socket) => {
		socket.write(frame(accepted(0)));
		socket.write(frame(link.Receipt.encode({ whole: {} }).finish()));
	});
	const outgoing = await sender({ connect: [address] });
	const error = await failureOf(writeAll(outgoing.shards[0]!, Buffer.alloc(64 << 20)));
	assert.match((await outgoing.explain!(error)).message, /says that it has the image, before it was sent/);
});

failing('a receipt that cannot be decoded is an error', async () => {
	const { address } = await listenAsOther((socket) => {
		socket.write(frame(accepted(0)));
		socket.write(frame(Buffer.of(255, 255, 255)));
	});
	const outgoing = await sender({ connect: [address] });
	const error = await failureOf(writeAll(outgoing.shards[0]!, Buffer.alloc(64 << 20)));
	assert.is.not(await outgoing.explain!(error), error);
});

failing.run();

/** A server with another protocol. */
async function listenAsOther(serve: (socket: Socket) => void): Promise<{ address: string }> {
	const path = join(temporaryDirectory(), 'socket');
	const sockets = new Set<Socket>();
	const server = createServer({ allowHalfOpen: true }, (socket) => {
		sockets.add(socket);
		socket.on('error', () => {});
		serve(socket);
	});
	await new Promise<void>((resolve) => server.listen(path, resolve));
	afterwards(() => {
		for (const socket of sockets) socket.destroy();
		server.close();
	});
	return { address: `unix:${path}` };
}

/**
 * A client with another protocol: sends `bytes`, and resolves with the answer's reason, or undefined if the connection was
 * only closed.
 */
async function connectAsOther(address: string, bytes: Uint8Array): Promise<string | undefined> {
	const socket = await open(address);
	socket.write(bytes);
	const answer = new Deframer('the listener', 1 << 20);
	for await (const chunk of socket) answer.push(chunk);
	const message = answer.next();
	return message && (link.Welcome.decode(message).refused?.reason ?? undefined);
}

async function open(address: string): Promise<Socket> {
	const path = address.slice('unix:'.length);
	await until('the listener', () => existsSync(path));
	const socket = netConnect({ path, allowHalfOpen: true });
	afterwards(() => socket.destroy());
	socket.on('error', () => {});
	await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
	return socket;
}

/** Resolves when the other side has closed `socket`: input that it leaves unread turns the end into a reset. */
async function closed(socket: Socket): Promise<void> {
	if (socket.destroyed || socket.readableEnded) return;
	await new Promise((resolve) => socket.resume().once('close', resolve).once('end', resolve));
}

const SETTINGS = { shards: 1, sends: true, token: Buffer.from('secret'), stallMillis: 0 } as LinkSettings;
const STREAM = Buffer.alloc(16, 7);

function helloWith(changes: Partial<link.IHello> = {}): Uint8Array {
	const right = link.Hello.decode(hello(SETTINGS, STREAM, 0));
	return frame(link.Hello.encode({ ...right, ...changes }).finish());
}

function tokenFile(text = 'secret\n', mode = 0o600): string {
	const path = join(temporaryDirectory(), 'token');
	writeFileSync(path, text);
	chmodSync(path, mode);
	return path;
}

const guarding = suite('a listener');

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
	guarding(`refuses ${what}, and then accepts a valid connection`, async () => {
		const address = unixAddress();
		const warnings: string[] = [];
		const given = { 'token-file': tokenFile() };
		const limits = { warn: (text: string) => warnings.push(text) };
		const incoming = receiver({ listen: [address], ...given }, limits);
		if (reason) assert.match((await connectAsOther(address, bytes())) ?? '', reason);
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

guarding('does not wait for a client that sends nothing, or its hello byte by byte', async () => {
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

guarding('accepts valid connections while other clients hold connections open', async () => {
	const address = unixAddress();
	const incoming = receiver({ listen: [address], shards: '4' });
	for (let i = 0; i < 20; i++) await open(address);
	const outgoing = sender({ connect: [address], shards: '4' });
	await carry(await outgoing, await incoming);
});

guarding('does not mix the shards of two runs', async () => {
	const address = unixAddress();
	const incoming = receiver({ listen: [address], shards: '2' });
	const first = await open(address);
	first.write(helloWith({ shards: 2, token: Buffer.alloc(0) }));
	const other = Buffer.alloc(16, 8);
	const second = helloWith({ shards: 2, shard: 1, stream: other, token: Buffer.alloc(0) });
	const reason = await connectAsOther(address, second);
	assert.match(reason ?? '', /another stream is being connected, from unix:/);
	const twice = helloWith({ shards: 2, shard: 0, token: Buffer.alloc(0) });
	assert.match((await connectAsOther(address, twice)) ?? '', /shard 1 of this stream is connected already/);
	// The first run ends before it is complete: the next one takes its place.
	first.destroy();
	const outgoing = sender({ connect: [address], shards: '2' });
	await outgoing.catch(() => {});
	await carry(await outgoing, await incoming);
});

guarding('closes a connection that sends data before it was answered', async () => {
	const address = unixAddress();
	const incoming = receiver({ listen: [address], shards: '2' });
	const eager = await open(address);
	eager.write(helloWith({ shards: 2, token: Buffer.alloc(0) }));
	eager.write('the stream, already');
	await closed(eager);
	await carry(await sender({ connect: [address], shards: '2' }), await incoming);
});

guarding('sends the connecting side the reason of a refusal', async () => {
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

guarding('does not listen at an address that is in use', async () => {
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

guarding.run();

const asking = suite('a connecting side');

asking('gives up in time, with an error that has the cure', async () => {
	const tcp = `tcp://127.0.0.1:${await freePort()}`;
	for (const address of [tcp, unixAddress()]) {
		const failure = failureOf(sender({ connect: [address] }, { connectMillis: 300 }));
		const error = await failure;
		assert.match(error.message, /^gave up after/);
		assert.match(error.message, /start the other side, which has to listen there/);
		assert.match((error.cause as Error).message, /^cannot connect to .*(ECONNREFUSED|ENOENT)/);
	}
});

asking('retries when the other side disconnects before it answers', async () => {
	const { address } = await listenAsOther((socket) => socket.destroy());
	const error = await failureOf(sender({ connect: [address] }, { connectMillis: 300 }));
	assert.match(error.message, /^gave up/);
	assert.match((error.cause as Error).message, /closed the connection without an answer|ECONNRESET|EPIPE/);
});

asking('does not wait for a server with another protocol', async () => {
	const { address } = await listenAsOther((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
	assert.match((await failureOf(sender({ connect: [address] }))).message, /unix:.* speaks another protocol/);
});

asking('does not treat an unknown answer as acceptance', async () => {
	for (const [answer, expected] of [
		[Buffer.alloc(0), /unix:.* gave no answer that is known/],
		[Buffer.of(255, 255, 255), /unix:.* speaks another protocol/],
	] as const) {
		const { address } = await listenAsOther((socket) => socket.write(frame(answer)));
		assert.match((await failureOf(sender({ connect: [address] }))).message, expected);
	}
});

asking('does not wait without limit for a server that sends nothing', async () => {
	const { address } = await listenAsOther(() => {});
	const error = await failureOf(sender({ connect: [address] }, { connectMillis: 300 }));
	assert.match(error.message, /unix:.* is silent/);
});

asking('an unknown host name is an error at once', async () => {
	const error = await failureOf(
		sender({ connect: ['tcp://no-such-host.invalid:7000'] }, { connectMillis: 300 }),
	);
	const text = `${error.message} ${(error.cause as Error | undefined)?.message}`;
	assert.match(text, /there is no host no-such-host.invalid/);
});

asking.run();

const secrets = suite('--token-file');

const files: [what: string, text: string, mode: number, expected: RegExp][] = [
	['that others can read', 'secret', 0o644, /is open to others than its owner: chmod 600 \//],
	['that the group can read', 'secret', 0o640, /is open to others/],
	['that is empty', '', 0o600, /is empty/],
	['that holds a line end only', '\n', 0o600, /is empty/],
	['that is too long', 'x'.repeat(5000), 0o600, /is longer than 4096 bytes/],
];
for (const [what, text, mode, expected] of files) {
	secrets(`a file ${what} is refused`, async () => {
		const given = { connect: [unixAddress()], 'token-file': tokenFile(text, mode) };
		assert.match((await failureOf(sender(given))).message, expected);
	});
}

secrets('a file that does not exist is refused', async () => {
	const path = join(temporaryDirectory(), 'none');
	const error = await failureOf(sender({ connect: [unixAddress()], 'token-file': path }));
	assert.match((error.cause as Error).message, /ENOENT.*none/);
});

secrets('line ends at its end are ignored', async () => {
	await linked({}, { 'token-file': tokenFile('a b\r\n') }, { 'token-file': tokenFile('a b') });
});

secrets('a listener without a token accepts connections with any token', async () => {
	await linked({}, { 'token-file': tokenFile() });
});

secrets.run();

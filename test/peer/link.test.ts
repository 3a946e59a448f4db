/** Streams over connections: how the sides meet, and how a stream ends, well or not. */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { poller } from '../../src/libc/poller.js';
import { parseAddress } from '../../src/net/address.js';
import { frame } from '../../src/net/frame.js';
import { acceptAt, incoming as arrival, listenAt } from '../../src/net/sockets.js';
import { accepted } from '../../src/peer/handshake.js';
import { link } from '../../src/proto/messages.js';
import { codeOf } from '../../src/runtime/errors.js';
import type { Incoming, Outgoing } from '../../src/stream/shard.js';
import { tcpAddress, unixAddress } from '../support/addresses.js';
import { failureOf } from '../support/failure.js';
import { freePort } from '../support/free-port.js';
import { suite } from '../support/suite.js';
import { carry, linked, onceListening, readAll, receiver, sender, writeAll } from './drive.js';
import { listenRaw } from './raw.js';

const places: [what: string, address: () => Promise<string> | string][] = [
	['a UNIX socket', unixAddress],
	['TCP', tcpAddress],
	['TCP to this host, unnamed', async () => `tcp://:${await freePort()}`],
	['TCP by name', async () => `tcp://localhost:${await freePort()}`],
	['TCP over IPv6', async () => `tcp://[::1]:${await freePort()}`],
];

const carrying = suite('streams over connections', { together: 4 });

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

carrying('several connections to several addresses', async () => {
	const addresses = [unixAddress(), await tcpAddress()];
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

const failing = suite('a stream that fails', { together: 4 });

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
	const { address } = await listenRaw((socket) => {
		socket.write(frame(accepted({ stallMillis: 0, sends: false })));
		socket.resume();
	});
	const outgoing = await sender({ connect: [address], 'stall-timeout': '1' });
	const error = await failureOf(outgoing.received());
	assert.match(error.message, /^the receiver at unix:.* was silent for 1 s .*: look whether it still runs$/);
	assert.is(codeOf(error), 'STALLED');
});

failing('a receipt before the end of the stream is an error', async () => {
	const { address } = await listenRaw((socket) => {
		socket.write(frame(accepted({ stallMillis: 0, sends: false })));
		socket.write(frame(link.Receipt.encode({ whole: {} }).finish()));
	});
	const outgoing = await sender({ connect: [address] });
	const error = await failureOf(writeAll(outgoing.shards[0]!, Buffer.alloc(64 << 20)));
	assert.match((await outgoing.explain!(error)).message, /says that it has the image, before it was sent/);
});

failing('a receipt that cannot be decoded is an error', async () => {
	const { address } = await listenRaw((socket) => {
		socket.write(frame(accepted({ stallMillis: 0, sends: false })));
		socket.write(frame(Buffer.of(255, 255, 255)));
	});
	const outgoing = await sender({ connect: [address] });
	const error = await failureOf(writeAll(outgoing.shards[0]!, Buffer.alloc(64 << 20)));
	const { message } = await outgoing.explain!(error);
	assert.match(message, /^the receiver at unix:.* sent a message that is no receipt/);
});

failing.run();

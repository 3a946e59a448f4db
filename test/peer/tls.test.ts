/** Streams over TLS. */
import * as assert from 'uvu/assert';
import { bytesWaiting } from '../../src/libc/pipes.js';
import type { Incoming, Outgoing } from '../../src/stream/shard.js';
import { tcpAddress, unixAddress } from '../support/addresses.js';
import { failureOf } from '../support/failure.js';
import { freePort } from '../support/free-port.js';
import { suite } from '../support/suite.js';
import { settled, until } from '../support/until.js';
import { carry, type Given, readAll, receiver, sender, writeAll } from './drive.js';
import { clientOptions, pki, serverOptions } from './pki.js';

const test = suite('TLS');

const places: [what: string, address: () => Promise<string> | string][] = [
	['an IP address', tcpAddress],
	['a name', async () => `tcp://localhost:${await freePort()}`],
	['a UNIX socket', unixAddress],
];
for (const [what, where] of places) {
	for (const listens of ['receiver', 'sender']) {
		test(`three shards to ${what}; the ${listens} listens`, async () => {
			const address = await where();
			const at = { listen: [address], shards: '3', ...serverOptions() };
			const to = { connect: [address], shards: '3', ...clientOptions() };
			const [outgoing, incoming] = await Promise.all([
				sender(listens === 'sender' ? at : to),
				receiver(listens === 'sender' ? to : at),
			]);
			await carry(outgoing, incoming);
		});
	}
}

test('a token, and no certificate of the client, where the listener has no CA', async () => {
	const address = await tcpAddress();
	const [incoming, outgoing] = await Promise.all([
		receiver({ listen: [address], ...pki().server }),
		sender({ connect: [address], 'tls-ca': pki().ca }),
	]);
	await carry(outgoing, incoming);
});

test('the first bytes are received before the last are written', async () => {
	const address = await tcpAddress();
	const [incoming, outgoing] = await Promise.all([
		receiver({ listen: [address], ...serverOptions() }),
		sender({ connect: [address], ...clientOptions() }),
	]);
	const { fd } = incoming.shards[0]!;
	for (let i = 1; i <= 20; i++) {
		await writeAll(outgoing.shards[0]!, Buffer.from('a little'));
		await until('the bytes', () => bytesWaiting(fd) === i * 'a little'.length);
	}
	const received = outgoing.received();
	assert.is(String(await readAll(incoming.shards[0]!)), 'a little'.repeat(20));
	await incoming.acknowledge();
	await received;
});

async function linked(given: Given = {}): Promise<[Outgoing, Incoming]> {
	const address = await tcpAddress();
	return await Promise.all([
		sender({ connect: [address], ...clientOptions(), ...given }),
		receiver({ listen: [address], ...serverOptions(), ...given }),
	]);
}

test('the receiver’s reason reaches a sender in the middle of its writing', async () => {
	const [outgoing, incoming] = await linked({ shards: '2' });
	const writing = failureOf(writeAll(outgoing.shards[1]!, Buffer.alloc(64 << 20)));
	await until('the first bytes', () => bytesWaiting(incoming.shards[1]!.fd) > 0);
	await incoming.close(new Error('cannot write pages-1.img: no space left'));
	const error = await outgoing.explain!(await writing);
	assert.match(error.message, /^the receiver at tcp:.* says: cannot write pages-1.img: no space left$/);
});

test('a receiver that disconnects without a receipt is an error that names it', async () => {
	const [outgoing, incoming] = await linked();
	const received = failureOf(outgoing.received());
	await readAll(incoming.shards[0]!);
	await incoming.close();
	assert.match((await received).message, /tcp:.*(closed the connection before|broke)/);
});

test('a sender that disconnects in the middle is a premature end, not a wait', async () => {
	const [outgoing, incoming] = await linked();
	const reading = readAll(incoming.shards[0]!);
	await writeAll(outgoing.shards[0]!, Buffer.alloc(100_000));
	await outgoing.close();
	assert.ok((await reading).length <= 100_000);
});

test('a pump buffers little of a stream without a reader', async () => {
	const [outgoing, incoming] = await linked();
	const shard = outgoing.shards[0]!;
	let written = 0;
	const writing = (async () => {
		for (let i = 0; i < 256; i++) {
			await writeAll(shard, Buffer.alloc(1 << 20));
			written++;
		}
	})();
	const stuck = await settled('the writer', () => written);
	assert.ok(stuck < 100, `${stuck} MiB were sent although there was no reader`);
	const reading = readAll(incoming.shards[0]!);
	await writing;
	const received = outgoing.received();
	assert.is((await reading).length, 256 << 20);
	await incoming.acknowledge();
	await received;
});

test.run();

/** TLS that does not come about: which side is not trusted, and what both sides say of it. */
import { readFileSync } from 'node:fs';
import { createServer as createPlainServer } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import * as assert from 'uvu/assert';
import { frame } from '../../src/net/frame.js';
import { hello, type LinkSettings } from '../../src/peer/handshake.js';
import type { Incoming } from '../../src/stream/shard.js';
import { tcpAddress } from '../support/addresses.js';
import { afterwards } from '../support/cleanup.js';
import { failureOf } from '../support/failure.js';
import { freePort } from '../support/free-port.js';
import { suite } from '../support/suite.js';
import { until } from '../support/until.js';
import { carry, type Given, onceListening, receiver, sender } from './drive.js';
import { clientOptions, pki, serverOptions } from './pki.js';

const test = suite('TLS, refused');

const refusedClients: [what: string, given: () => Given, reason: RegExp][] = [
	['without a certificate', () => ({ 'tls-ca': pki().ca }), /refuses: a certificate is needed here/],
	[
		'with a certificate of another CA',
		() => ({ ...pki().untrusted, 'tls-ca': pki().ca }),
		/refuses: the certificate is not accepted \(.*: the CA of the side that listens/,
	],
	['that does not know the CA', () => pki().client, /no TLS with tcp:.*(self-signed|unable to)/],
	['without TLS', () => ({}), /refuses: TLS is needed here: give a certificate/],
];
for (const [what, given, reason] of refusedClients) {
	test(`a client ${what} is refused, and a valid one is accepted after it`, async () => {
		const address = await tcpAddress();
		const incoming = receiver({ listen: [address], ...serverOptions() });
		const error = await failureOf(sender({ connect: [address], ...given() }, { connectMillis: 20_000 }));
		assert.match(`${error.message} ${(error.cause as Error | undefined)?.message}`, reason);
		const outgoing = await sender({ connect: [address], ...clientOptions() });
		await carry(outgoing, await incoming);
	});
}

const distrusts: [what: string, given: () => Given][] = [
	['trusts no CA', () => pki().client],
	['trusts another CA', () => ({ ...pki().client, 'tls-ca': pki().server['tls-cert'] })],
];
for (const [what, given] of distrusts) {
	test(`a client that ${what} gets the reason, and so does the listener`, async () => {
		const address = await tcpAddress();
		const warnings: string[] = [];
		const incoming = receiver(
			{ listen: [address], ...pki().server },
			{ warn: (message) => warnings.push(message) },
		);
		assert.match(
			(await failureOf(sender({ connect: [address], ...given() }))).message,
			/its certificate is not trusted \(.*\): the CA of this side has to be the one that signed it$/,
		);
		await until('the warning', () => warnings.length > 0);
		assert.match(
			warnings[0]!,
			/left in the middle of the handshake.* does not trust the certificate of this side/,
		);
		await endListener(address, incoming);
	});
}

test('a listener whose certificate is for another host is not trusted', async () => {
	const address = await tcpAddress();
	const incoming = receiver({ listen: [address], ...pki().elsewhere });
	const error = await failureOf(sender({ connect: [address], ...clientOptions() }));
	assert.match(error.message, /no TLS with tcp:.*127\.0\.0\.1/);
	const host = `tcp://localhost:${address.split(':')[2]}`;
	assert.match(
		(await failureOf(sender({ connect: [host], ...clientOptions() }))).message,
		/elsewhere\.example/,
	);
	await endListener(address, incoming);
});

test('a listener of another CA is not trusted', async () => {
	const address = `tcp://localhost:${await freePort()}`;
	const incoming = receiver({ listen: [address], ...pki().untrusted });
	const error = await failureOf(sender({ connect: [address], ...clientOptions() }));
	assert.match(error.message, /no TLS with tcp:.*unable to (get|verify)/);
	await endListener(address, incoming);
});

/** Connects to a listener that is still waiting, so that it ends. */
async function endListener(address: string, incoming: Promise<Incoming>): Promise<void> {
	const port = Number(address.split(':')[2]);
	const socket = tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false });
	afterwards(() => socket.destroy());
	const settings = { shards: 1, sends: true, stallMillis: 0 } as LinkSettings;
	socket.write(frame(hello(settings, Buffer.alloc(16), 0)));
	await incoming;
}

test('TLS to a listener without TLS is an error with that reason', async () => {
	const address = await tcpAddress();
	const incoming = receiver({ listen: [address] });
	const error = await failureOf(sender({ connect: [address], ...clientOptions() }));
	assert.match(error.message, /does not speak TLS; give a certificate, its key and a CA on both sides/);
	await carry(await sender({ connect: [address] }), await incoming);
});

test('TLS 1.2 is refused', async () => {
	const address = await tcpAddress();
	const { side: incoming } = await onceListening((limits) =>
		receiver({ listen: [address], ...serverOptions() }, limits),
	);
	const port = Number(address.split(':')[2]);
	const ca = readFileSync(pki().ca);
	const failure = await new Promise<Error>((resolve, reject) => {
		const socket = tlsConnect({ port, host: '127.0.0.1', ca, maxVersion: 'TLSv1.2' });
		socket.on('secureConnect', () => reject(new Error('it was accepted')));
		socket.on('error', resolve);
	});
	assert.match(failure.message, /protocol version|alert/i);
	await carry(await sender({ connect: [address], ...clientOptions() }), await incoming);
});

test('a client that connects and sends nothing is disconnected in time', async () => {
	const address = await tcpAddress();
	const { side: incoming } = await onceListening((limits) =>
		receiver({ listen: [address], ...serverOptions() }, { handshakeMillis: 2000, ...limits }),
	);
	const port = Number(address.split(':')[2]);
	const { connect } = await import('node:net');
	const silent = connect({ port, host: '127.0.0.1' });
	afterwards(() => silent.destroy());
	silent.on('error', () => {}).resume();
	await new Promise((resolve) => silent.once('close', resolve));
	await Promise.all([incoming, sender({ connect: [address], ...clientOptions() })]);
});

const wrong: [what: string, given: () => Given, expected: RegExp][] = [
	[
		'a listener without a certificate',
		() => ({ listen: ['unix:/x'], 'tls-ca': pki().ca }),
		/needs --tls-cert/,
	],
	[
		'a certificate without its key',
		() => ({ connect: ['unix:/x'], 'tls-cert': pki().ca }),
		/--tls-cert and --tls-key belong together/,
	],
	[
		'a file that does not exist',
		() => ({ connect: ['unix:/x'], 'tls-ca': '/nonexistent' }),
		/--tls-ca cannot be read/,
	],
	[
		'a file that is not a certificate',
		() => ({ connect: ['unix:/x'], 'tls-ca': pki().server['tls-key'] }),
		/--tls-ca/,
	],
];
for (const [what, given, expected] of wrong) {
	test(`${what} is an error at once`, async () => {
		assert.match((await failureOf(sender(given(), { connectMillis: 100 }))).message, expected);
	});
}

test('a server that accepts connections and does not answer is given up', async () => {
	const silent = createPlainServer(() => {});
	const sockets = new Set<{ destroy(): void }>();
	silent.on('connection', (socket) => sockets.add(socket));
	await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
	afterwards(() => {
		for (const socket of sockets) socket.destroy();
		silent.close();
	});
	const { port } = silent.address() as { port: number };
	const given = { connect: [`tcp://127.0.0.1:${port}`], ...clientOptions() };
	assert.match((await failureOf(sender(given, { connectMillis: 500 }))).message, /no TLS with tcp:.*silent/);
});

test.run();

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer as createPlainServer } from 'node:net';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import * as assert from 'uvu/assert';
import { bytesWaiting } from '../../src/libc/pipes.js';
import { frame } from '../../src/net/frame.js';
import { hello, type LinkSettings } from '../../src/peer/handshake.js';
import type { Incoming, Outgoing } from '../../src/stream/shard.js';
import { afterwards, mark, unwind } from '../support/cleanup.js';
import { freePort } from '../support/free-port.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { tool } from '../support/tools.js';
import { settled, until } from '../support/until.js';
import { carry, failureOf, type Given, onceListening, readAll, receiver, sender, writeAll } from './drive.js';

const test = suite('TLS');

/** A certificate authority, certificates by openssl for both sides, and one of an untrusted CA. */
interface Pki {
	ca: string;
	server: Given;
	client: Given;
	untrusted: Given;
	elsewhere: Given;
}

let directory: string;
let made: Pki | undefined;
const beforeAll = mark();
test.before(() => {
	directory = temporaryDirectory();
});

/** Created by the first test that needs it: it requires openssl, and only a test can be skipped. */
function pki(): Pki {
	if (made) return made;
	const command = tool('openssl');
	const openssl = (...args: string[]) => execFileSync(command, args, { cwd: directory, stdio: 'pipe' });
	const authority = (name: string) =>
		openssl(
			...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
			...['-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.pem`],
		);
	const certificate = (name: string, signer: string, names: string): Given => {
		openssl(
			...['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', `/CN=${name}`],
			...['-addext', `subjectAltName=${names}`, '-keyout', `${name}.key`, '-out', `${name}.csr`],
		);
		openssl(
			...['x509', '-req', '-in', `${name}.csr`, '-CA', `${signer}.pem`, '-CAkey', `${signer}.key`],
			...['-CAcreateserial', '-days', '2', '-copy_extensions', 'copy', '-out', `${name}.pem`],
		);
		return { 'tls-cert': join(directory, `${name}.pem`), 'tls-key': join(directory, `${name}.key`) };
	};
	authority('ca');
	authority('otherca');
	made = {
		ca: join(directory, 'ca.pem'),
		server: certificate('server', 'ca', 'DNS:localhost,IP:127.0.0.1'),
		client: certificate('client', 'ca', 'DNS:client.example'),
		untrusted: certificate('untrusted', 'otherca', 'DNS:localhost'),
		elsewhere: certificate('elsewhere', 'ca', 'DNS:elsewhere.example'),
	};
	return made;
}
test.after(() => unwind(beforeAll));

const tcp = async () => `tcp://127.0.0.1:${await freePort()}`;
const server = () => ({ ...pki().server, 'tls-ca': pki().ca });
const client = () => ({ ...pki().client, 'tls-ca': pki().ca });

const places: [what: string, address: () => Promise<string> | string][] = [
	['an IP address', tcp],
	['a name', async () => `tcp://localhost:${await freePort()}`],
	['a UNIX socket', () => `unix:${join(temporaryDirectory(), 'socket')}`],
];
for (const [what, where] of places) {
	for (const listens of ['receiver', 'sender']) {
		test(`three shards to ${what}; the ${listens} listens`, async () => {
			const address = await where();
			const at = { listen: [address], shards: '3', ...server() };
			const to = { connect: [address], shards: '3', ...client() };
			const [outgoing, incoming] = await Promise.all([
				sender(listens === 'sender' ? at : to),
				receiver(listens === 'sender' ? to : at),
			]);
			await carry(outgoing, incoming);
		});
	}
}

test('a token, and no certificate of the client, where the listener has no CA', async () => {
	const address = await tcp();
	const [incoming, outgoing] = await Promise.all([
		receiver({ listen: [address], ...pki().server }),
		sender({ connect: [address], 'tls-ca': pki().ca }),
	]);
	await carry(outgoing, incoming);
});

test('the first bytes are received before the last are written', async () => {
	const address = await tcp();
	const [incoming, outgoing] = await Promise.all([
		receiver({ listen: [address], ...server() }),
		sender({ connect: [address], ...client() }),
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
		const address = await tcp();
		const incoming = receiver({ listen: [address], ...server() });
		const error = await failureOf(sender({ connect: [address], ...given() }, { connectMillis: 20_000 }));
		assert.match(`${error.message} ${(error.cause as Error | undefined)?.message}`, reason);
		const outgoing = await sender({ connect: [address], ...client() });
		await carry(outgoing, await incoming);
	});
}

const distrusts: [what: string, given: () => Given][] = [
	['trusts no CA', () => pki().client],
	['trusts another CA', () => ({ ...pki().client, 'tls-ca': pki().server['tls-cert'] })],
];
for (const [what, given] of distrusts) {
	test(`a client that ${what} gets the reason, and so does the listener`, async () => {
		const address = await tcp();
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
	const address = await tcp();
	const incoming = receiver({ listen: [address], ...pki().elsewhere });
	const error = await failureOf(sender({ connect: [address], ...client() }));
	assert.match(error.message, /no TLS with tcp:.*127\.0\.0\.1/);
	const host = `tcp://localhost:${address.split(':')[2]}`;
	assert.match((await failureOf(sender({ connect: [host], ...client() }))).message, /elsewhere\.example/);
	await endListener(address, incoming);
});

test('a listener of another CA is not trusted', async () => {
	const address = `tcp://localhost:${await freePort()}`;
	const incoming = receiver({ listen: [address], ...pki().untrusted });
	const error = await failureOf(sender({ connect: [address], ...client() }));
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
	const address = await tcp();
	const incoming = receiver({ listen: [address] });
	const error = await failureOf(sender({ connect: [address], ...client() }));
	assert.match(error.message, /does not speak TLS; give a certificate, its key and a CA on both sides/);
	await carry(await sender({ connect: [address] }), await incoming);
});

test('TLS 1.2 is refused', async () => {
	const address = await tcp();
	const { side: incoming } = await onceListening((limits) =>
		receiver({ listen: [address], ...server() }, limits),
	);
	const port = Number(address.split(':')[2]);
	const ca = readFileSync(pki().ca);
	const failure = await new Promise<Error>((resolve, reject) => {
		const socket = tlsConnect({ port, host: '127.0.0.1', ca, maxVersion: 'TLSv1.2' });
		socket.on('secureConnect', () => reject(new Error('it was accepted')));
		socket.on('error', resolve);
	});
	assert.match(failure.message, /protocol version|alert/i);
	await carry(await sender({ connect: [address], ...client() }), await incoming);
});

test('a client that connects and sends nothing is disconnected in time', async () => {
	const address = await tcp();
	const { side: incoming } = await onceListening((limits) =>
		receiver({ listen: [address], ...server() }, { handshakeMillis: 2000, ...limits }),
	);
	const port = Number(address.split(':')[2]);
	const { connect } = await import('node:net');
	const silent = connect({ port, host: '127.0.0.1' });
	afterwards(() => silent.destroy());
	silent.on('error', () => {}).resume();
	await new Promise((resolve) => silent.once('close', resolve));
	await Promise.all([incoming, sender({ connect: [address], ...client() })]);
});

async function linked(given: Given = {}): Promise<[Outgoing, Incoming]> {
	const address = await tcp();
	return await Promise.all([
		sender({ connect: [address], ...client(), ...given }),
		receiver({ listen: [address], ...server(), ...given }),
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
	const given = { connect: [`tcp://127.0.0.1:${port}`], ...client() };
	assert.match((await failureOf(sender(given, { connectMillis: 500 }))).message, /no TLS with tcp:.*silent/);
});

test.run();

/** Transports through the built command, with a stand-in for CRIU at both ends. */
import { existsSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { parseAddress } from '../../src/net/address.js';
import { listenAt } from '../../src/net/sockets.js';
import { acceptUnix, connectUnix, listenUnix } from '../../src/net/unix-socket.js';
import { tcpAddress, unixAddress } from '../support/addresses.js';
import { freePort } from '../support/free-port.js';
import { End } from '../support/pipe.js';
import { selfSigned } from '../support/secrets.js';
import { namesIn, StandInDump } from '../support/stand-in.js';
import { Streamer } from '../support/streamer.js';
import { skipImpossible, suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';
import { capture, carries, dumpInto, extract, files, restoreFrom, type Side, token } from './sides.js';

const test = suite('the command over connections', { together: 3 });

const ways: [what: string, address: () => string | Promise<string>, more: () => string[]][] = [
	['a UNIX socket', unixAddress, () => []],
	['TCP', tcpAddress, () => ['--shards', '3']],
	['TCP with a token', tcpAddress, token],
	['TLS', tcpAddress, () => [...selfSigned(), '--shards', '2']],
];
for (const [what, where, options] of ways) {
	for (const listens of ['extract', 'capture']) {
		for (const first of ['extract', 'capture']) {
			test(`${what}: ${listens} listens, ${first} is started first`, async () => {
				const address = await where();
				const more = options();
				const startCaptureSide = () =>
					capture([listens === 'capture' ? '--listen' : '--connect', address, ...more]);
				const startExtractSide = () =>
					extract([listens === 'extract' ? '--listen' : '--connect', address, ...more]);
				const startFirst = first === 'capture' ? startCaptureSide : startExtractSide;
				const startSecond = first === 'capture' ? startExtractSide : startCaptureSide;
				const one = startFirst();
				await hasStarted(one, listens === first ? address : undefined);
				const other = startSecond();
				await (first === 'capture' ? carries(one, other) : carries(other, one));
			});
		}
	}
}

test('to disk: the capture ends when the files exist', async () => {
	const address = unixAddress();
	const images = join(temporaryDirectory(), 'images');
	const to = new Streamer(['--listen', address, '--images-dir', images, 'extract']);
	const from = capture(['--connect', address]);
	await dumpInto(from);
	await from.process.ends();
	assert.equal(namesIn(images), [...Object.keys(files), 'inventory.img'].sort());
	for (const [name, bytes] of Object.entries(files))
		assert.ok(readFileSync(join(images, name)).equals(bytes));
	await to.ends();
});

test('a reader may wait for the start of the dump for longer than --stall-timeout', async () => {
	const address = unixAddress();
	const to = extract(['--listen', address, '--stall-timeout', '1']);
	const from = capture(['--connect', address, '--stall-timeout', '1']);
	const dump = await StandInDump.connect(from);
	await sleep(3000);
	await dump.finish(files);
	await restoreFrom(to);
	await Promise.all([from.process.ends(), to.process.ends()]);
});

test('vsock, where the kernel has a loopback', async () => {
	const address = `vsock:1:${await freePort()}`;
	try {
		(await listenAt(parseAddress('--listen', address))).close();
	} catch (error) {
		skipImpossible(
			`no vsock to this machine itself (the module vsock_loopback): ${(error as Error).message}`,
		);
	}
	const to = extract(['--listen', address]);
	await carries(capture(['--connect', address]), to);
});

test('a socket as --shard-fds, both ways', async () => {
	const path = join(temporaryDirectory(), 'socket');
	const listening = new End(listenUnix(path, 'table'));
	const client = new End(connectUnix(path));
	const server = new End(acceptUnix(listening.fd));
	const workFrom = temporaryDirectory();
	const from = new Streamer(['--work-dir', workFrom, '--shard-fds', '3', 'capture'], { fds: [client] });
	const workTo = temporaryDirectory();
	const to = new Streamer(['--work-dir', workTo, '--shard-fds', '3', 'extract'], { fds: [server] });
	await carries({ work: workFrom, process: from }, { work: workTo, process: to });
});

test('files as --shard-fds, also one opened to append', async () => {
	const directory = temporaryDirectory();
	const paths = ['one', 'two'].map((name) => join(directory, name));
	const work = temporaryDirectory();
	const from = new Streamer(['--work-dir', work, '--shard-fds', '3,4', 'capture'], {
		fds: [new End(openSync(paths[0]!, 'w')), new End(openSync(paths[1]!, 'a'))],
	});
	await dumpInto({ work, process: from });
	await from.ends();
	const to = new Streamer(['--work-dir', work, '--shard-fds', '3,4', 'extract'], {
		fds: paths.map((path) => new End(openSync(path, 'r'))),
	});
	await restoreFrom({ work, process: to });
	await to.ends();
});

test.run();

/** Resolves when the command runs, or with `address` when it listens there. */
async function hasStarted({ work, process }: Side, address?: string): Promise<void> {
	await until('the command to start', () => {
		if (process.ended !== undefined) throw new Error(`it ended: ${process.stderr}`);
		const runs = readdirSync(work).some((name) => name.endsWith('-control.sock'));
		return address === undefined ? runs : isListening(address);
	});
}

function isListening(address: string): boolean {
	if (address.startsWith('unix:')) return existsSync(address.slice('unix:'.length));
	const port = Number(address.split(':').at(-1)).toString(16).toUpperCase().padStart(4, '0');
	// The state 0A is TCP_LISTEN.
	return new RegExp(`: [0-9A-F]{8}:${port} [0-9A-F:]+ 0A `).test(readFileSync('/proc/net/tcp', 'utf8'));
}

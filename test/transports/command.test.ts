/** Transports through the built command, with a stand-in for CRIU at both ends. */
import { execFileSync } from 'node:child_process';
import { existsSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { parseAddress } from '../../src/net/address.js';
import { listenAt } from '../../src/net/sockets.js';
import { acceptUnix, connectUnix, listenUnix } from '../../src/net/unix-socket.js';
import { content } from '../support/content.js';
import { freePort } from '../support/free-port.js';
import { End } from '../support/pipe.js';
import { namesIn, StandInDump, StandInRestore } from '../support/stand-in.js';
import { Streamer } from '../support/streamer.js';
import { skipImpossible, suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { tool } from '../support/tools.js';
import { until } from '../support/until.js';

type Args = readonly string[];

const files: Record<string, Buffer> = {
	'core-1.img': content(1, 900),
	'pages-1.img': content(2, 12_000_000),
	'empty.img': Buffer.alloc(0),
};

interface Side {
	work: string;
	process: Streamer;
}

function capture(args: Args): Side {
	const work = temporaryDirectory();
	return { work, process: new Streamer(['--work-dir', work, ...args, 'capture']) };
}

function extract(args: Args): Side {
	const work = temporaryDirectory();
	return { work, process: new Streamer(['--work-dir', work, ...args, 'extract']) };
}

async function dumpInto(side: Side): Promise<void> {
	const dump = await StandInDump.connect(side);
	await dump.finish(files);
}

async function restoreFrom(side: Side): Promise<void> {
	const restore = await StandInRestore.connect(side);
	for (const [name, bytes] of Object.entries(files)) {
		assert.ok((await restore.read(name))?.equals(bytes), `${name} is what was dumped`);
	}
	restore.close();
}

async function carries(from: Side, to: Side): Promise<void> {
	await dumpInto(from);
	await restoreFrom(to);
	await Promise.all([from.process.ends(), to.process.ends()]);
}

const unixAddress = () => `unix:${join(temporaryDirectory(), 'socket')}`;
const tcpAddress = async () => `tcp://127.0.0.1:${await freePort()}`;

/** A self-signed certificate for this host. */
function selfSigned(): string[] {
	const directory = temporaryDirectory();
	execFileSync(
		tool('openssl'),
		[
			...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
			...['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'],
			...['-keyout', 'key.pem', '-out', 'cert.pem'],
		],
		{ cwd: directory, stdio: 'pipe' },
	);
	const cert = join(directory, 'cert.pem');
	return ['--tls-cert', cert, '--tls-key', join(directory, 'key.pem'), '--tls-ca', cert];
}

function token(text = 'a secret\n'): string[] {
	const path = join(temporaryDirectory(), 'token');
	writeFileSync(path, text, { mode: 0o600 });
	return ['--token-file', path];
}

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

const working = suite('the command over connections');

const ways: [what: string, address: () => string | Promise<string>, more: () => string[]][] = [
	['a UNIX socket', unixAddress, () => []],
	['TCP', tcpAddress, () => ['--shards', '3']],
	['TCP with a token', tcpAddress, token],
	['TLS', tcpAddress, () => [...selfSigned(), '--shards', '2']],
];
for (const [what, where, options] of ways) {
	for (const listens of ['extract', 'capture']) {
		for (const first of ['extract', 'capture']) {
			working(`${what}: ${listens} listens, ${first} is started first`, async () => {
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

working('to disk: the capture ends when the files exist', async () => {
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

working('a reader may wait for the start of the dump for longer than --stall-timeout', async () => {
	const address = unixAddress();
	const to = extract(['--listen', address, '--stall-timeout', '1']);
	const from = capture(['--connect', address, '--stall-timeout', '1']);
	const dump = await StandInDump.connect(from);
	await sleep(3000);
	await dump.finish(files);
	await restoreFrom(to);
	await Promise.all([from.process.ends(), to.process.ends()]);
});

working('vsock, where the kernel has a loopback', async () => {
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

working('a socket as --shard-fds, both ways', async () => {
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

working('files as --shard-fds, also one opened to append', async () => {
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

working.run();

const failing = suite('the command when a connection fails');

failing(
	'a wrong token and a missing one end the capture; the listener then accepts the right one',
	async () => {
		const address = await tcpAddress();
		const to = extract(['--listen', address, ...token()]);
		const wrong = capture(['--connect', address, ...token('another')]);
		assert.match(await wrong.process.ends(1), /^criu-image-streamer: tcp:.* refuses: the token is wrong/m);
		const none = capture(['--connect', address]);
		assert.match(
			await none.process.ends(1),
			/refuses: a token is needed here: give the same token on both sides/,
		);
		await carries(capture(['--connect', address, ...token()]), to);
		assert.match(
			to.process.stderr,
			/warning: refused a connection from tcp:\/\/127.0.0.1:\d+: the token is wrong/,
		);
	},
);

/** CRIU writes until the streamer accepts no more. */
async function dumpEndlessly(side: Side): Promise<void> {
	const dump = await StandInDump.connect(side);
	const out = await dump.file('pages-1.img');
	const block = content(3, 1 << 20);
	try {
		for (;;) await out.write(block);
	} catch {
		// CRIU gets this error.
	}
	out.close();
	dump.close();
}

const secure: [what: string, more: () => string[]][] = [
	['TCP', () => []],
	['three shards', () => ['--shards', '3']],
	['TLS', selfSigned],
];
for (const [what, options] of secure) {
	failing(`${what}: a capture whose receiver is killed names it`, async () => {
		const address = await tcpAddress();
		const more = options();
		const to = extract(['--listen', address, ...more]);
		const from = capture(['--connect', address, ...more]);
		const dump = dumpEndlessly(from);
		await from.process.line('checkpoint-start');
		to.process.kill('SIGKILL');
		await dump;
		const message = await from.process.ends(1);
		assert.match(message, /tcp:\/\/127\.0\.0\.1:\d+/);
		assert.match(message, /closed the connection before|broke/);
	});

	failing(`${what}: an extract whose sender is killed has no image`, async () => {
		const address = await tcpAddress();
		const more = options();
		const to = extract(['--listen', address, ...more]);
		const from = capture(['--connect', address, ...more]);
		const dump = dumpEndlessly(from);
		await from.process.line('checkpoint-start');
		from.process.kill('SIGKILL');
		await dump;
		assert.match(await to.process.ends(1), /tcp:\/\/127\.0\.0\.1:\d+|image/);
		assert.equal(namesIn(to.work), []);
	});

	failing(`${what}: the receiver’s error is the capture’s error`, async () => {
		const address = await tcpAddress();
		const more = options();
		const images = temporaryDirectory();
		writeFileSync(join(images, 'pages-1.img'), 'precious');
		const to = new Streamer(['--listen', address, ...more, '--images-dir', images, 'extract']);
		const from = capture(['--connect', address, ...more]);
		await dumpEndlessly(from);
		const message = await from.process.ends(1);
		assert.match(message, /the receiver at tcp:.* says: .*pages-1\.img exists: .*--overwrite$/m);
		assert.match(await to.ends(1), /pages-1\.img/);
		assert.is(readFileSync(join(images, 'pages-1.img'), 'utf8'), 'precious');
	});
}

failing('a receiver that stalls in the middle is named by the capture', async () => {
	const address = await tcpAddress();
	const to = extract(['--listen', address]);
	const from = capture(['--connect', address, '--stall-timeout', '1']);
	const dump = await StandInDump.connect(from);
	to.process.kill('SIGSTOP');
	const out = await dump.file('pages-1.img');
	await failureOfWriting(out);
	assert.match(await from.process.ends(1), /tcp:\/\/127.* has taken nothing for 1 s.*--stall-timeout/);
});

async function failureOfWriting(out: {
	write(bytes: Uint8Array): Promise<void>;
	close(): void;
}): Promise<void> {
	const block = content(3, 1 << 20);
	try {
		for (;;) await out.write(block);
	} catch {
		out.close();
	}
}

failing('a receiver that stalls instead of answering is named by the capture', async () => {
	const address = unixAddress();
	const to = extract(['--listen', address]);
	const from = capture(['--connect', address, '--stall-timeout', '1']);
	const dump = await StandInDump.connect(from);
	to.process.kill('SIGSTOP');
	await dump.finish({ 'core-1.img': Buffer.alloc(100) });
	assert.match(await from.process.ends(1), /unix:.* (was silent|has taken nothing) for 1 s.*--stall-timeout/);
});

failing('a sender that stalls in the middle is named by the extract', async () => {
	const address = unixAddress();
	const to = extract(['--listen', address, '--stall-timeout', '1']);
	const from = capture(['--connect', address]);
	const dump = await StandInDump.connect(from);
	// Far more than pipes and sockets hold: most of it has been received by the extract.
	await (await dump.file('pages-1.img')).write(content(3, 12_000_000));
	from.process.kill('SIGSTOP');
	assert.match(await to.process.ends(1), /the sender of unix:.* has sent nothing for 1 s/);
});

failing('two captures for one extract: the second is refused or cannot connect', async () => {
	const address = unixAddress();
	const to = extract(['--listen', address, '--shards', '2']);
	const from = capture(['--connect', address, '--shards', '2']);
	await from.process.line('socket-init');
	const second = capture(['--connect', address, '--shards', '2']);
	await carries(from, to);
	assert.match(await second.process.ends(1), /gave up after 30 s.*ENOENT|refuses: the stream has all/);
});

const wrong: [args: string[], expected: RegExp][] = [
	[['--connect', 'host:7000'], /--connect host:7000: no address.*tcp:\/\/host:port/],
	[['--listen', 'tcp://:0'], /--listen tcp:\/\/:0: no port from 1 to 65535/],
	[['--connect', 'unix:/a', '--listen', 'unix:/b'], /--connect and --listen exclude each other/],
	[['--connect', 'unix:/a', '--connect', 'unix:/b', '--shards', '17'], /are 34; 32 are the most/],
	[['--listen', 'unix:/a', '--tls-ca', '/a'], /needs --tls-cert and --tls-key/],
	[['--token-file', '/a'], /--token-file is for connections: --connect or --listen is missing/],
	[['--shards', '2'], /--shards is for connections/],
];
for (const [args, expected] of wrong) {
	failing(`${args.join(' ')} is wrong usage`, async () => {
		assert.match(await capture(args).process.ends(2), expected);
	});
}

failing.run();

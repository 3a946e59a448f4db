/** Connections that fail, through the built command, with a stand-in for CRIU at both ends. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { tcpAddress, unixAddress } from '../support/addresses.js';
import { content } from '../support/content.js';
import { selfSigned } from '../support/secrets.js';
import { namesIn, StandInDump } from '../support/stand-in.js';
import { Streamer } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { capture, carries, extract, type Side, token } from './sides.js';

const test = suite('the command when a connection fails', { together: 4 });

// The first, because the second capture may try for half a minute: the other tests run meanwhile.
test('two captures for one extract: the second is refused or cannot connect', async () => {
	const address = unixAddress();
	const to = extract(['--listen', address, '--shards', '2']);
	const from = capture(['--connect', address, '--shards', '2']);
	await from.process.line('socket-init');
	const second = capture(['--connect', address, '--shards', '2']);
	await carries(from, to);
	assert.match(await second.process.ends(1), /gave up after 30 s.*ENOENT|refuses: the stream has all/);
});

test('a wrong token and a missing one end the capture; the listener takes the right one after them', async () => {
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
});

/** CRIU writes a file until the streamer takes no more. */
async function writeEndlessly(dump: StandInDump): Promise<void> {
	const out = await dump.file('pages-1.img');
	const block = content(3, 1 << 20);
	try {
		for (;;) await out.write(block);
	} catch {
		// CRIU gets this error.
	}
	out.close();
}

async function dumpEndlessly(side: Side): Promise<void> {
	const dump = await StandInDump.connect(side);
	await writeEndlessly(dump);
	dump.close();
}

/** Both sides, over TCP, while CRIU writes; `dump` resolves when it no longer can. */
async function inTheMiddle(more: readonly string[]): Promise<{ from: Side; to: Side; dump: Promise<void> }> {
	const address = await tcpAddress();
	const to = extract(['--listen', address, ...more]);
	const from = capture(['--connect', address, ...more]);
	const dump = dumpEndlessly(from);
	await from.process.line('checkpoint-start');
	return { from, to, dump };
}

const secure: [what: string, more: () => string[]][] = [
	['TCP', () => []],
	['three shards', () => ['--shards', '3']],
	['TLS', selfSigned],
];
for (const [what, options] of secure) {
	test(`${what}: a capture whose receiver is killed names it`, async () => {
		const { from, to, dump } = await inTheMiddle(options());
		to.process.kill('SIGKILL');
		await dump;
		const message = await from.process.ends(1);
		assert.match(message, /tcp:\/\/127\.0\.0\.1:\d+/);
		assert.match(message, /closed the connection before|broke/);
	});

	test(`${what}: an extract whose sender is killed has no image`, async () => {
		const { from, to, dump } = await inTheMiddle(options());
		from.process.kill('SIGKILL');
		await dump;
		assert.match(await to.process.ends(1), /tcp:\/\/127\.0\.0\.1:\d+|image/);
		assert.equal(namesIn(to.work), []);
	});

	test(`${what}: the receiver’s error is the capture’s error`, async () => {
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

test('a receiver that stalls in the middle is named by the capture', async () => {
	const address = await tcpAddress();
	const to = extract(['--listen', address]);
	const from = capture(['--connect', address, '--stall-timeout', '1']);
	const dump = await StandInDump.connect(from);
	to.process.kill('SIGSTOP');
	await writeEndlessly(dump);
	assert.match(await from.process.ends(1), /tcp:\/\/127.* has taken nothing for 1 s.*--stall-timeout/);
});

test('a receiver that stalls instead of answering is named by the capture', async () => {
	const address = unixAddress();
	const to = extract(['--listen', address]);
	const from = capture(['--connect', address, '--stall-timeout', '1']);
	const dump = await StandInDump.connect(from);
	to.process.kill('SIGSTOP');
	await dump.finish({ 'core-1.img': Buffer.alloc(100) });
	assert.match(await from.process.ends(1), /unix:.* (was silent|has taken nothing) for 1 s.*--stall-timeout/);
});

test('a sender that stalls in the middle is named by the extract', async () => {
	const address = unixAddress();
	const to = extract(['--listen', address, '--stall-timeout', '1']);
	const from = capture(['--connect', address]);
	const dump = await StandInDump.connect(from);
	// Far more than pipes and sockets hold: most of it has been received by the extract.
	await (await dump.file('pages-1.img')).write(content(3, 12_000_000));
	from.process.kill('SIGSTOP');
	assert.match(await to.process.ends(1), /the sender of unix:.* has sent nothing for 1 s/);
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
	test(`${args.join(' ')} is wrong usage`, async () => {
		assert.match(await capture(args).process.ends(2), expected);
	});
}

test.run();

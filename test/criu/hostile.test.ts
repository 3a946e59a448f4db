/** A peer on CRIU's socket that is not CRIU is refused with a reason, and none of its descriptors stays open. */
import { closeSync, openSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { CriuConnection } from '../../src/criu/connection.js';
import { close, write } from '../../src/libc/calls.js';
import { sendFds } from '../../src/libc/message.js';
import { makePipe } from '../../src/libc/pipes.js';
import { afterwards } from '../support/cleanup.js';
import { openDescriptors } from '../support/descriptors.js';
import { data, file, fileEnd, imageEnd, markersIn, prefixed, streamOf } from '../support/markers.js';
import { socketPairs } from '../support/socket-pair.js';
import { namesIn, requestFor, StandInDump, StandInRestore } from '../support/stand-in.js';
import { startCapture, startExtract } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { until } from '../support/until.js';

/** The time limit for a message, which is half a minute outside of tests. */
const HALF_MESSAGE_MILLIS = 100;

/** What a peer does on its end of the socket, and the expected error. */
interface Case {
	what: string;
	does(near: number): void;
	/** Keeps its end open, so that the error is about its input and not about the end. */
	stays?: boolean;
	message: RegExp;
}

const length = (bytes: number) => {
	const result = Buffer.alloc(4);
	result.writeUInt32LE(bytes);
	return result;
};
const say = (near: number, bytes: Uint8Array) => assert.is(write(near, bytes, bytes.length), bytes.length);
const NAME = 'pages-1.img';

/** Sends one byte with `count` descriptors of a fresh pipe. */
function sendPipes(near: number, count: number, bytes = 1): void {
	const { readEnd, writeEnd } = makePipe() as { readEnd: number; writeEnd: number };
	assert.is(sendFds(near, Buffer.alloc(bytes), Array(count).fill(readEnd)), bytes);
	close(readEnd);
	close(writeEnd);
}

function sendFile(near: number, path: string): void {
	const fd = openSync(path, 'r');
	assert.is(sendFds(near, Buffer.of(0), [fd]), 1);
	closeSync(fd);
}

const cases: Case[] = [
	{
		what: 'no descriptor',
		does: (near) => say(near, Buffer.concat([requestFor(NAME), Buffer.of(0)])),
		stays: true,
		message: /no descriptor for "pages-1\.img", where one pipe belongs/,
	},
	{
		what: 'the end instead of a descriptor',
		does: (near) => say(near, requestFor(NAME)),
		message: /closed its socket before it sent a pipe for "pages-1\.img"/,
	},
	...[2, 16, 17, 100].map((count) => ({
		what: `${count} descriptors`,
		does(near: number) {
			say(near, requestFor(NAME));
			sendPipes(near, count);
		},
		stays: true,
		message:
			count <= 16 ? new RegExp(`${count} descriptors and 1 bytes for "pages-1\\.img"`) : /image socket/,
	})),
	{
		what: 'a descriptor with two bytes',
		does(near) {
			say(near, requestFor(NAME));
			sendPipes(near, 1, 2);
		},
		stays: true,
		message: /sent 1 descriptors/,
	},
	...['/dev/null', '/', '/proc/self/status'].map((path) => ({
		what: `${path} instead of a pipe`,
		does(near: number) {
			say(near, requestFor(NAME));
			sendFile(near, path);
		},
		stays: true,
		message: /a descriptor for "pages-1\.img" that is no pipe/,
	})),
	{
		what: 'a descriptor before any request',
		does: (near) => sendPipes(near, 1),
		stays: true,
		message: /1 descriptors that it was not asked for/,
	},
	{
		what: 'a request that carries a descriptor',
		does(near) {
			const { readEnd, writeEnd } = makePipe() as { readEnd: number; writeEnd: number };
			sendFds(near, requestFor(NAME), [readEnd]);
			close(readEnd);
			close(writeEnd);
		},
		stays: true,
		message: /1 descriptors that it was not asked for/,
	},
	{
		what: 'a length of 4 GB',
		does: (near) => say(near, length(2 ** 32 - 1)),
		stays: true,
		message: /a message of 4294967295 bytes/,
	},
	{
		what: 'a length just too large',
		does: (near) => say(near, length(10_241)),
		stays: true,
		message: /a message of 10241 bytes/,
	},
	{
		what: 'half a length',
		does: (near) => say(near, Buffer.of(5, 0)),
		message: /in the middle of a message/,
	},
	{
		what: 'half a message',
		does: (near) => say(near, requestFor(NAME).subarray(0, 9)),
		message: /in the middle of a message/,
	},
	{
		what: 'no name',
		does: (near) => say(near, prefixed(Buffer.alloc(0))),
		stays: true,
		message: /cannot be read|is empty/,
	},
	{
		what: 'no protobuf',
		does: (near) => say(near, prefixed(Buffer.of(255, 255, 255))),
		stays: true,
		message: /cannot be read; it is not CRIU/,
	},
	{
		what: 'a name that is a path',
		does: (near) => say(near, requestFor('../etc/passwd')),
		stays: true,
		message: /"\.\.\/etc\/passwd", which holds a slash/,
	},
	{
		what: 'text',
		does: (near) => say(near, Buffer.from('GET / HTTP/1.1\r\n\r\n')),
		stays: true,
		message: /a message of \d+ bytes; it is not CRIU/,
	},
];

const alone = suite('a hostile peer');

/** Takes a request and its pipe from `connection`, until that fails. */
async function talk(connection: CriuConnection): Promise<string> {
	try {
		for (let name = await connection.request(); name !== undefined; name = await connection.request())
			close(await connection.pipe(name));
		return 'nothing';
	} catch (error) {
		return (error as Error).message;
	}
}

for (const { what, does, stays, message } of cases) {
	alone(what, async () => {
		const pair = socketPairs();
		const before = openDescriptors();
		const { near, far } = pair();
		const connection = new CriuConnection(far, new AbortController().signal);
		does(near);
		if (!stays) close(near);
		assert.match(await talk(connection), message);
		connection.close();
		if (stays) close(near);
		assert.is(openDescriptors(), before, 'every descriptor is closed');
	});
}

for (const [what, first] of Object.entries({
	'half a length': Buffer.of(11),
	'half a message': requestFor(NAME).subarray(0, 8),
	'a request without its pipe': requestFor(NAME),
})) {
	alone(`${what}, and then no more input`, async () => {
		const { near, far } = socketPairs()();
		const connection = new CriuConnection(far, new AbortController().signal, HALF_MESSAGE_MILLIS);
		say(near, first);
		assert.match(await talk(connection), /has not finished a message for 0\.1 s/);
		connection.close();
		close(near);
	});
}

alone('a slow sender: the time limit is for the whole message, not for each byte', async () => {
	const { near, far } = socketPairs()();
	const connection = new CriuConnection(far, new AbortController().signal, HALF_MESSAGE_MILLIS);
	const message = prefixed(Buffer.concat([Buffer.of(0x0a, 0x80, 0x4e), Buffer.alloc(9984, 'x')]));
	let at = 0;
	const dripping = setInterval(() => write(near, message.subarray(at, ++at), 1), HALF_MESSAGE_MILLIS / 10);
	afterwards(() => clearInterval(dripping));
	assert.match(await talk(connection), /has not finished a message/);
	assert.ok(at < message.length);
	clearInterval(dripping);
	connection.close();
	close(near);
});

alone('silence between messages is not an error', async () => {
	const { near, far } = socketPairs()();
	const connection = new CriuConnection(far, new AbortController().signal, HALF_MESSAGE_MILLIS);
	const talking = talk(connection);
	for (const name of ['a.img', 'b.img']) {
		await new Promise((resolve) => setTimeout(resolve, 3 * HALF_MESSAGE_MILLIS));
		say(near, requestFor(name));
		sendPipes(near, 1);
	}
	close(near);
	assert.is(await talking, 'nothing');
	connection.close();
});

alone.run();

const command = suite('a hostile peer of the command');
const HOSTILE = cases.filter(({ what }) =>
	['2 descriptors', 'a length of 4 GB', 'half a message', '/ instead of a pipe'].includes(what),
);

for (const { what, does, message } of HOSTILE) {
	command(`capture: ${what}`, async () => {
		const { process, work, shards } = startCapture();
		const reading = shards[0]!.all();
		const dump = await StandInDump.connect(work);
		const out = await dump.file('core-1.img');
		does(dump.fd);
		if (what === 'half a message') dump.close();
		assert.match(await process.ends(1), message);
		out.close();
		assert.not.match(markersIn(await reading).at(-1) ?? '', /image-end/);
		assert.equal(namesIn(work), []);
	});

	command(`extract: ${what}`, async () => {
		const { process, work, shards } = startExtract();
		await shards[0]!.end(streamOf(file(NAME), data('pages'), fileEnd(), imageEnd()));
		const restore = await StandInRestore.connect(work);
		does(restore.fd);
		if (what === 'half a message') restore.close();
		assert.match(await process.ends(1), message);
		assert.equal(namesIn(work), []);
	});
}

command('capture: while a file is open, which stays open on the other side', async () => {
	const { process, work, shards } = startCapture();
	const reading = shards[0]!.all();
	const dump = await StandInDump.connect(work);
	const outs = await Promise.all(['a.img', 'b.img', 'pages-1.img'].map((name) => dump.file(name)));
	await outs[0]!.write(Buffer.alloc(100));
	say(dump.fd, length(2 ** 32 - 1));
	await process.ends(1);
	await reading;
	await until('the pipes to be closed', () =>
		outs[0]!.write(Buffer.alloc(100)).then(
			() => false,
			() => true,
		),
	);
});

command.run();

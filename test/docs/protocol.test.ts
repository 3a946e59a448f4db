/** docs/protocol.md: its examples are decoded and encoded with the codecs of the program. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { CriuConnection } from '../../src/criu/connection.js';
import { close, read, write } from '../../src/libc/calls.js';
import { sendFds } from '../../src/libc/message.js';
import { makePipe } from '../../src/libc/pipes.js';
import { Deframer, frame } from '../../src/net/frame.js';
import { accepted, hello, type LinkSettings, readHello, readWelcome } from '../../src/peer/handshake.js';
import { control, criu, link } from '../../src/proto/messages.js';
import { HeldStore } from '../../src/stores/held.js';
import { decodeCorrections, encodeCorrections } from '../../src/stream/corrections.js';
import { MAX_MESSAGE_BYTES } from '../../src/stream/limits.js';
import { load } from '../../src/stream/load.js';
import { encodeMarker, type Marker } from '../../src/stream/marker.js';
import { pipeOf } from '../support/pipe.js';
import { socketPairs } from '../support/socket-pair.js';
import { contentOf } from '../support/stored.js';
import { suite } from '../support/suite.js';

const test = suite('docs/protocol.md');
const root = fileURLToPath(new URL('../..', import.meta.url));
const document = readFileSync(join(root, 'docs/protocol.md'), 'utf8');

/** The bytes of each example: on each line, the text before two spaces. */
const examples = [...document.matchAll(/^```hex\n(.*?)^```/gms)].map(([, code]) => {
	const columns = code!.split('\n').map((line) => line.trim().split(/ {2,}/)[0]!);
	return Buffer.from(columns.join('').replaceAll(' ', ''), 'hex');
});

function nextExample(): Buffer {
	const example = examples.shift();
	assert.ok(example?.length, 'an example is missing');
	return example!;
}

/** Splits `bytes` into messages. */
function messagesIn(bytes: Buffer): Buffer[] {
	const deframer = new Deframer('the example', MAX_MESSAGE_BYTES);
	deframer.push(bytes);
	const found: Buffer[] = [];
	for (let message = deframer.next(); message; message = deframer.next()) found.push(message);
	assert.is(deframer.left, 0);
	return found;
}

/** CRIU's end of the image socket, and the streamer's connection at the other end. */
function imageSocket() {
	const { near, far } = socketPairs()();
	const connection = new CriuConnection(far, new AbortController().signal);
	return {
		connection,
		/** CRIU sends the request that `example` begins with. Returns the rest. */
		asks(example: Buffer): Buffer {
			const end = 4 + example.readUInt32LE(0);
			assert.is(write(near, example, end), end);
			return example.subarray(end);
		},
		receives(expected: Buffer): void {
			const bytes = Buffer.allocUnsafeSlow(100);
			assert.is(read(near, bytes, bytes.length), expected.length);
			assert.equal(bytes.subarray(0, expected.length), expected);
		},
		async passesPipe(byte: Buffer, name: string): Promise<void> {
			const made = makePipe() as { readEnd: number; writeEnd: number };
			assert.is(sendFds(near, byte, [made.writeEnd]), 1);
			close(await connection.pipe(name));
			close(made.readEnd);
			close(made.writeEnd);
		},
		close(): void {
			connection.close();
			close(near);
		},
	};
}

test('a restore: a file that exists', async () => {
	const example = nextExample();
	const socket = imageSocket();
	const rest = socket.asks(example);
	assert.is(await socket.connection.request(), 'core-1.img');
	await socket.connection.reply(true);
	socket.receives(rest.subarray(0, -1));
	await socket.passesPipe(rest.subarray(-1), 'core-1.img');
	socket.close();
	const request = frame(criu.Request.encode({ filename: 'core-1.img' }).finish());
	assert.equal(example.subarray(0, request.length), request);
});

test('a restore: a file that does not exist', async () => {
	const socket = imageSocket();
	const rest = socket.asks(nextExample());
	assert.is(await socket.connection.request(), 'cgroup.img');
	await socket.connection.reply(false);
	socket.receives(rest);
	socket.close();
});

test('a dump', async () => {
	const socket = imageSocket();
	const rest = socket.asks(nextExample());
	assert.is(await socket.connection.request(), 'core-1.img');
	await socket.passesPipe(rest, 'core-1.img');
	socket.close();
});

test('a stream', async () => {
	const example = nextExample();
	const store = new HeldStore({
		keep: false,
		memoryLimit: undefined,
		spool: undefined,
		log: { info() {} },
	});
	const { fd } = pipeOf(example);
	await load([{ fd, name: 'the example', stallMillis: 0 }], store, new AbortController());
	const files = [...store.image.files];
	assert.equal(
		files.map(({ name }) => name),
		['a.img'],
	);
	assert.equal(await contentOf(files[0]!), Buffer.from('abc'));
	store.close();
	const markers: Marker[] = [
		{ seq: 0, kind: 'file', name: 'a.img' },
		{ seq: 1, kind: 'data', bytes: 3 },
		{ seq: 2, kind: 'file-end' },
		{ seq: 3, kind: 'image-end' },
	];
	const [name, data, ...ends] = markers.map(encodeMarker);
	assert.equal(Buffer.concat([name!, data!, Buffer.from('abc'), ...ends]), example);
});

test('corrections', () => {
	const example = nextExample();
	const expected = new Map([['pages-1.img', [{ offset: 0x12d0, bytes: Buffer.from('39300000', 'hex') }]]]);
	assert.equal(Buffer.from(encodeCorrections(expected)), example);
	const [range] = decodeCorrections(example).get('pages-1.img')!;
	assert.is(range!.offset, 0x12d0);
	assert.is(Buffer.from(range!.bytes).readUInt32LE(0), 12345);
});

test('a question: ready', () => {
	const example = nextExample();
	const [question, answer] = messagesIn(example) as [Buffer, Buffer];
	assert.is(control.Question.decode(question).body, 'ready');
	assert.is(control.Answer.decode(answer).body, 'done');
	const encoded = [
		control.Question.encode({ ready: {} }).finish(),
		control.Answer.encode({ done: {} }).finish(),
	];
	assert.equal(Buffer.concat(encoded.map(frame)), example);
});

test('a question: finished', () => {
	const example = nextExample();
	const [question, answer] = messagesIn(example) as [Buffer, Buffer];
	assert.is(control.Question.decode(question).body, 'finished');
	assert.is(control.Answer.decode(answer).failed?.reason, 'disk full');
	const encoded = [
		control.Question.encode({ finished: {} }).finish(),
		control.Answer.encode({ failed: { reason: 'disk full' } }).finish(),
	];
	assert.equal(Buffer.concat(encoded.map(frame)), example);
});

/** The settings of the side that listens: a reader of two shards. */
const listening = {
	shards: 2,
	sends: false,
	token: Buffer.from('secret'),
	stallMillis: 0,
} as LinkSettings;

test('a hello', () => {
	const example = nextExample();
	const stream = Buffer.from(Array.from({ length: 16 }, (_, i) => i));
	const [message] = messagesIn(example);
	assert.equal(readHello(listening, message!), {
		stream: stream.toString('hex'),
		shard: 1,
		stallMillis: 60_000,
		copies: false,
	});
	const connecting = { ...listening, sends: true, stallMillis: 60_000 };
	assert.equal(frame(hello(connecting, stream, 1)), example);
});

test('a welcome', () => {
	const example = nextExample();
	const read = readWelcome('the example', messagesIn(example)[0]!);
	assert.equal(read, { stallMillis: 60_000, copies: true });
	assert.equal(frame(accepted({ ...listening, stallMillis: 60_000 })), example);
});

test('receipts', () => {
	const example = nextExample();
	assert.equal(
		messagesIn(example).map((message) => link.Receipt.decode(message).body),
		['alive', 'whole'],
	);
	const encoded = [link.Receipt.encode({ alive: {} }).finish(), link.Receipt.encode({ whole: {} }).finish()];
	assert.equal(Buffer.concat(encoded.map(frame)), example);
});

test('every example is tested', () => assert.equal(examples, []));

test.run();

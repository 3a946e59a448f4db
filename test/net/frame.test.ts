// Length-prefixed messages may arrive in any pieces, and a reader never buffers more than the limit.
import * as assert from 'uvu/assert';
import { Deframer, frame } from '../../src/net/frame.js';
import { MAX_MESSAGE_BYTES } from '../../src/stream/limits.js';
import { suite } from '../support/suite.js';

const test = suite('frame');
const hex = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString('hex');

const table: [message: string, framed: string][] = [
	['', '00000000'],
	['2801', '020000002801'],
	['61'.repeat(300), `2c010000${'61'.repeat(300)}`],
];
for (const [message, framed] of table) {
	test(`${message.length / 2} bytes`, () => assert.is(hex(frame(Buffer.from(message, 'hex'))), framed));
}

const messages = ['', '2801', '00'.repeat(5), 'ff'.repeat(1000), '', '01'].map((m) => Buffer.from(m, 'hex'));
const stream = Buffer.concat(messages.map(frame));

for (const piece of [1, 2, 3, 4, 5, 7, 100, stream.length]) {
	test(`the same messages from pieces of ${piece} bytes`, () => {
		const deframer = new Deframer('the test', MAX_MESSAGE_BYTES);
		const found: (string | undefined)[] = [];
		for (let at = 0; at < stream.length; at += piece) {
			deframer.push(stream.subarray(at, at + piece));
			for (let message: Buffer | undefined; (message = deframer.next()); ) found.push(hex(message));
		}
		assert.equal(found, messages.map(hex));
		assert.is(deframer.left, 0);
	});
}

test('accepts the longest message, and rejects a longer one by its length alone', () => {
	const deframer = new Deframer('shard fd 3', 10);
	deframer.push(frame(Buffer.alloc(10)));
	assert.is(deframer.next()?.length, 10);
	deframer.push(Buffer.from('0b000000', 'hex'));
	assert.throws(() => deframer.next(), 'shard fd 3 sent a message of 11 bytes; 10 are the most');
});

test('a length of 4 GB is refused, not allocated', () => {
	const deframer = new Deframer('shard fd 3', MAX_MESSAGE_BYTES);
	deframer.push(Buffer.from('ffffffff', 'hex'));
	assert.throws(() => deframer.next(), /4294967295 bytes/);
});

test('returns the bytes that follow a message', () => {
	const deframer = new Deframer('the test', 10);
	deframer.push(Buffer.concat([frame(Buffer.of(1)), Buffer.of(7, 8)]));
	assert.is(hex(deframer.next()), '01');
	assert.is(deframer.left, 2);
	assert.is(hex(deframer.takeRest()), '0708');
	assert.is(deframer.left, 0);
});

test.run();

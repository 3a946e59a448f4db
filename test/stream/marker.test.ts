// The bytes of markers, which every reader of this stream, ours or not, depends on.
import * as assert from 'uvu/assert';
import { decodeMarker, encodeMarker, type Marker } from '../../src/stream/marker.js';
import { suite } from '../support/suite.js';

const test = suite('marker');

const table: [hex: string, marker: Marker][] = [
	['05000000 1203 612e69', { seq: 0, kind: 'file', name: 'a.i' }],
	['07000000 0801 1203 612e69', { seq: 1, kind: 'file', name: 'a.i' }],
	['04000000 0802 1800', { seq: 2, kind: 'data', bytes: 0 }],
	['05000000 0803 188020', { seq: 3, kind: 'data', bytes: 4096 }],
	['08000000 0804 18ffffffff0f', { seq: 4, kind: 'data', bytes: 0xffffffff }],
	['04000000 0805 2001', { seq: 5, kind: 'file-end' }],
	['04000000 087f 2801', { seq: 127, kind: 'image-end' }],
	['05000000 088001 2801', { seq: 128, kind: 'image-end' }],
	['07000000 08ffffff0f 2801', { seq: 0x1ffffff, kind: 'image-end' }],
	['08000000 088080808010 2001', { seq: 2 ** 32, kind: 'file-end' }],
	['0b000000 08ffffffffffffff0f 2001', { seq: Number.MAX_SAFE_INTEGER, kind: 'file-end' }],
	['08000000 0806 1204 c3a9 c3a9', { seq: 6, kind: 'file', name: 'éé' }],
];

const bytesOf = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex');

for (const [hex, marker] of table) {
	test(`${hex} is ${JSON.stringify(marker)}`, () => {
		assert.is(Buffer.from(encodeMarker(marker)).toString('hex'), hex.replaceAll(' ', ''));
		assert.equal(decodeMarker(bytesOf(hex).subarray(4), 'the stream'), marker);
	});
}

const odd: [why: string, hex: string, marker: Marker][] = [
	['an unknown field beside a body is ignored', '0801 5005 2001', { seq: 1, kind: 'file-end' }],
	['the sequence number may come last', '2001 0807', { seq: 7, kind: 'file-end' }],
	['a zero may be explicit', '0800 2801', { seq: 0, kind: 'image-end' }],
	['the last body counts, as in protobuf', '0801 2001 2801', { seq: 1, kind: 'image-end' }],
];
for (const [why, hex, marker] of odd) {
	test(why, () => assert.equal(decodeMarker(bytesOf(hex), 'the stream'), marker));
}

const refused: [why: string, hex: string, message: RegExp][] = [
	['a marker without a body', '0801', /marker 1 with a body that this version does not know/],
	['a body of the future', '0801 3001', /does not know/],
	['nothing at all', '', /does not know/],
	['a cut varint', '08ff', /no marker/],
	['a name that is longer than the message', '1205 6161', /no marker/],
	['a wire type that does not exist', '0801 27', /no marker/],
	['a sequence number past 2^53', '08ffffffffffffff1f 2001', /sequence number .* too large/],
	['an empty name', '1200', /file name "", which is empty/],
	['a directory', '1202 2e2e', /"\.\.", which is a directory/],
	['this directory', '1201 2e', /"\.", which is a directory/],
	['an absolute path', '1202 2f61', /"\/a", which is an absolute path/],
	['a path', '1203 612f62', /"a\/b", which holds a slash/],
	['a NUL', '1203 610062', /which holds a NUL/],
	['a name that is no UTF-8', '1202 ff61', /no marker/],
];
for (const [why, hex, message] of refused) {
	test(`refuses ${why}`, () => {
		assert.throws(() => decodeMarker(bytesOf(hex), 'shard fd 3'), message);
		assert.throws(() => decodeMarker(bytesOf(hex), 'shard fd 3'), /^shard fd 3 sent/);
	});
}

test.run();

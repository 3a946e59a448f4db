/** The file of corrections, as bytes and as values, and the content that a reader refuses. */
import * as assert from 'uvu/assert';
import { corrections } from '../../src/proto/images.js';
import { withCorrections } from '../../src/stream/corrected-store.js';
import {
	CORRECTIONS,
	decodeCorrections,
	encodeCorrections,
	MAX_CORRECTIONS_BYTES,
} from '../../src/stream/corrections.js';
import type { Store } from '../../src/stream/store.js';
import { suite } from '../support/suite.js';

const test = suite('corrections');
const range = (offset: number, ...bytes: number[]) => ({ offset, bytes: Uint8Array.from(bytes) });
const plain = (content: Uint8Array) =>
	[...decodeCorrections(content)].map(([name, ranges]) => [
		name,
		...ranges.map(({ offset, bytes }) => [offset, ...bytes]),
	]);

test('the example of the document', () => {
	const content = encodeCorrections(new Map([['pages-1.img', [range(0x12d0, 0x39, 0x30, 0, 0)]]]));
	const hex = '0a180a0b70616765732d312e696d67120908d025120439300000';
	assert.is(Buffer.from(content).toString('hex'), hex);
	assert.equal(plain(Buffer.from(hex, 'hex')), [['pages-1.img', [0x12d0, 0x39, 0x30, 0, 0]]]);
});

test('ranges are sorted, and a byte occurs once', () => {
	const ranges = [range(100, 1, 2, 3, 4), range(8, 5), range(102, 9, 9, 6, 7), range(100, 1, 2)];
	assert.equal(plain(encodeCorrections(new Map([['pages-1.img', ranges]]))), [
		['pages-1.img', [8, 5], [100, 1, 2, 3, 4], [104, 6, 7]],
	]);
});

const encode = (files: object[]) => corrections.Corrections.encode({ files } as never).finish();
const refused: Record<string, [Uint8Array, RegExp]> = {
	'no message': [Uint8Array.of(0xff, 0xff), /cannot be decoded/],
	'a name outside of the image': [encode([{ name: '../passwd', ranges: [] }]), /holds a slash/],
	'a file twice': [encode([{ name: 'a' }, { name: 'a' }]), /names a twice/],
	'ranges out of order': [encode([{ name: 'a', ranges: [range(8, 1), range(0, 1)] }]), /not in order/],
	'ranges that overlap': [encode([{ name: 'a', ranges: [range(0, 1, 2), range(1, 1)] }]), /overlap/],
	'an empty range': [encode([{ name: 'a', ranges: [range(0)] }]), /range of 0 bytes/],
	'a range over 4096 bytes': [
		encode([{ name: 'a', ranges: [range(0, ...new Array(4097).fill(1))] }]),
		/range of 4097 bytes/,
	],
	'an offset that no file has': [encode([{ name: 'a', ranges: [range(2 ** 60, 1)] }]), /offset/],
};
for (const [what, [content, message]] of Object.entries(refused))
	test(`refused: ${what}`, () => assert.throws(() => decodeCorrections(content), message));

test('refused: a file over 16 MiB, before its content is received', () => {
	const writer = withCorrections({} as Store).store.create(CORRECTIONS);
	writer.expect(MAX_CORRECTIONS_BYTES);
	assert.throws(() => writer.expect(1), /larger than 16777216 bytes/);
});

test.run();

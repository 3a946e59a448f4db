/** The list of robust futexes, walked as the kernel does; a sparse file stands in for the memory. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { exitWordsOf } from '../../src/criu/exit-words.js';
import { afterwards } from '../support/cleanup.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';

const test = suite('words that change at the end of a thread');
const HEAD = 0x10_0000;
const ENTRIES = 0x20_0000;

/**
 * Creates a memory with a list of `count` entries, whose futexes are `offset` bytes from them; returns the addresses of the
 * entries.
 */
function memoryOf(size: 8 | 4, count: number, offset: number, pending = 0, loops = false) {
	const fd = openSync(join(temporaryDirectory(), 'memory'), 'w+');
	afterwards(() => closeSync(fd));
	const put = (at: number, value: number) => {
		const bytes = Buffer.alloc(8);
		bytes.writeBigInt64LE(BigInt(value));
		writeSync(fd, bytes, 0, size, at);
	};
	const entries = Array.from({ length: count }, (_, i) => ENTRIES + i * 0x100);
	put(HEAD, entries[0] ?? HEAD);
	put(HEAD + size, offset);
	put(HEAD + 2 * size, pending);
	// The last entry points back to the head; the lowest bit marks a futex with priority inheritance.
	for (const [i, at] of entries.entries())
		put(at, entries[i + 1] === undefined ? (loops ? entries[0]! : HEAD) : entries[i + 1]! | (i & 1));
	return { fd, entries };
}

const end = (size: number) => ({ clearTid: 0, robustList: HEAD, robustHeadBytes: 3 * size });

for (const size of [8, 4] as const) {
	test(`pointers of ${size} bytes`, () => {
		const { fd, entries } = memoryOf(size, 3, -32);
		const words = entries.map((at) => at - 32);
		assert.equal(exitWordsOf(fd, end(size)), words);
		assert.equal(exitWordsOf(fd, { ...end(size), clearTid: 77 }), [77, ...words]);
	});

	test(`a pending operation, pointers of ${size} bytes`, () => {
		const { fd } = memoryOf(size, 0, -32, ENTRIES + 1);
		assert.equal(exitWordsOf(fd, end(size)), [ENTRIES - 32]);
	});
}

test('an endless list is read as far as the kernel reads it', () => {
	const { fd } = memoryOf(8, 3, 0, 0, true);
	assert.is(exitWordsOf(fd, end(8)).length, 2048);
});

test('a list ends at an unmapped address', () => {
	const { fd, entries } = memoryOf(8, 1, 0);
	const nowhere = Buffer.alloc(8);
	nowhere.writeBigUInt64LE(0xffff_ffff_ffff_f000n);
	writeSync(fd, nowhere, 0, 8, entries[0]!);
	assert.is(exitWordsOf(fd, end(8)).length, 2);
	assert.equal(exitWordsOf(fd, { ...end(8), robustList: 2 ** 62 }), []);
});

test('a head of an unknown size is refused', () => {
	const { fd } = memoryOf(8, 0, 0);
	assert.throws(() => exitWordsOf(fd, { ...end(8), robustHeadBytes: 100 }), /head of 100 bytes/);
});

test.run();

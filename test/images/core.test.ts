/** The values in a core image for the end of its thread. */
import * as assert from 'uvu/assert';
import { threadEndOf } from '../../src/images/core.js';
import { suite } from '../support/suite.js';
import { CORE_MAGIC, field, image } from './build.js';

const test = suite('core');
const WORD = 0x7f12_3456_7890;
const LIST = 0x7f12_3456_78a0;

const thread = Buffer.concat([field(1, LIST), field(2, 24)]);
/** By the number of the field that depends on the architecture. */
const architectures = {
	'x86-64': 2,
	arm: 6,
	arm64: 8,
	ppc64: 9,
	s390: 10,
	mips: 11,
	loongarch: 12,
	riscv: 13,
};

for (const [name, number] of Object.entries(architectures)) {
	test(`a thread of ${name}`, () => {
		const core = Buffer.concat([field(1, 1), field(number, field(1, WORD)), field(5, thread)]);
		const end = threadEndOf(image(CORE_MAGIC, core), 'core-1.img');
		assert.equal(end, { clearTid: WORD, robustList: LIST, robustHeadBytes: 24 });
	});
}

test('a task that had ended has no thread', () => {
	const core = Buffer.concat([field(1, 1), field(3, Buffer.alloc(0))]);
	assert.is(threadEndOf(image(CORE_MAGIC, core), 'core-1.img'), undefined);
});

test('an unknown architecture, and a file that is not a core image, are refused', () => {
	const unknown = Buffer.concat([field(1, 99), field(5, thread)]);
	assert.throws(() => threadEndOf(image(CORE_MAGIC, unknown), 'core-1.img'), /unknown architecture/);
	assert.throws(() => threadEndOf(image(CORE_MAGIC), 'core-1.img'), /is empty/);
	assert.throws(() => threadEndOf(Buffer.from('core'), 'core-1.img'), /not an image/);
});

test.run();

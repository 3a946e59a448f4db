// The meaning of a marker depends on those before it.
import * as assert from 'uvu/assert';
import type { MarkerBody } from '../../src/stream/marker.js';
import { MarkerSequencer, type Step } from '../../src/stream/sequencer.js';
import { suite } from '../support/suite.js';

const test = suite('order');

const file = (name: string): MarkerBody => ({ kind: 'file', name });
const data = (bytes: number): MarkerBody => ({ kind: 'data', bytes });
const fileEnd: MarkerBody = { kind: 'file-end' };
const imageEnd: MarkerBody = { kind: 'image-end' };

function take(...bodies: MarkerBody[]): (Step<string> | undefined)[] {
	const ended = new Set<string>();
	const order = new MarkerSequencer<string>({ begin: (name) => name, hasEnded: (name) => ended.has(name) });
	return bodies.map((body) => {
		const step = order.take({ seq: order.next, ...body });
		if (step?.kind === 'file-end') ended.add(step.name);
		return step;
	});
}

test('data belongs to the file that was named last, and files may be interleaved', () => {
	assert.equal(take(file('a'), data(3), file('b'), data(4), fileEnd, file('a'), data(5), fileEnd, imageEnd), [
		undefined,
		{ kind: 'data', file: 'a', bytes: 3 },
		undefined,
		{ kind: 'data', file: 'b', bytes: 4 },
		{ kind: 'file-end', name: 'b', file: 'b' },
		undefined,
		{ kind: 'data', file: 'a', bytes: 5 },
		{ kind: 'file-end', name: 'a', file: 'a' },
		{ kind: 'image-end' },
	]);
});

test('an empty file is a file', () => {
	assert.equal(take(file('a'), fileEnd), [undefined, { kind: 'file-end', name: 'a', file: 'a' }]);
});

test('an image without files is valid', () => {
	assert.equal(take(imageEnd), [{ kind: 'image-end' }]);
});

const refused: [why: string, bodies: MarkerBody[], message: RegExp][] = [
	['data before any file', [data(1)], /marker 0 has data without a file/],
	['data after the end of its file', [file('a'), fileEnd, data(1)], /marker 2 has data/],
	['an end of no file', [fileEnd], /marker 0 ends no file/],
	['two ends of a file', [file('a'), fileEnd, fileEnd], /marker 2 ends no file/],
	['a file that continues after its end', [file('a'), fileEnd, file('a')], /file "a" has data after its end/],
	['an image that ends before its files', [file('a'), data(1), imageEnd], /the image ends, but "a" did not/],
];
for (const [why, bodies, message] of refused) {
	test(`refuses ${why}`, () => assert.throws(() => take(...bodies), message));
}

test('only the next marker is due', () => {
	const order = new MarkerSequencer({ begin: (name) => name, hasEnded: () => false });
	assert.ok(order.isDue({ seq: 0, ...file('a') }));
	assert.not(order.isDue({ seq: 1, ...fileEnd }));
	order.take({ seq: 0, ...file('a') });
	assert.ok(order.isDue({ seq: 1, ...fileEnd }));
	assert.throws(() => order.isDue({ seq: 0, ...fileEnd }), /marker 0 came twice/);
});

test('nothing comes after the end of the image', () => {
	const order = new MarkerSequencer({ begin: (name) => name, hasEnded: () => false });
	order.take({ seq: 0, ...imageEnd });
	assert.ok(order.done);
	assert.throws(() => order.isDue({ seq: 1, ...file('a') }), /marker 1 comes after the end of the image/);
});

test.run();

// A reader of messages must not be able to stop a command, neither by not reading nor by closing its end.
import * as assert from 'uvu/assert';
import { write as libcWrite } from '../../src/libc/calls.js';
import { Lines } from '../../src/report/lines.js';
import { pipe } from '../support/pipe.js';
import { StandInDump } from '../support/stand-in.js';
import { startCapture } from '../support/streamer.js';
import { suite } from '../support/suite.js';

const test = suite('lines');

/** A full pipe without a reader. */
async function fullPipe() {
	const { readEnd, writeEnd } = pipe();
	const filling = Buffer.alloc(4096);
	while (libcWrite(writeEnd.fd, filling, filling.length) > 0);
	return { readEnd, writeEnd };
}

test('wait for a slow reader, in order', async () => {
	const { readEnd, writeEnd } = pipe();
	writeEnd.forChild();
	const lines = new Lines(writeEnd.fd);
	// More than a pipe holds, less than the limit of the queue.
	const texts = Array.from({ length: 2000 }, (_, i) => `line ${i} ${'.'.repeat(80)}\n`);
	for (const text of texts) lines.write(text);
	const received = await readEnd.exactly(texts.join('').length);
	assert.is(String(received), texts.join(''));
	await lines.flush();
});

test('are dropped as whole lines, the later ones, when too many wait', async () => {
	const { readEnd, writeEnd } = pipe();
	writeEnd.forChild();
	const lines = new Lines(writeEnd.fd);
	const text = (i: number) => `line ${i} ${'.'.repeat(1000)}\n`;
	for (let i = 0; i < 5000; i++) lines.write(text(i));
	const all = readEnd.all();
	await lines.flush();
	writeEnd.close();
	const received = String(await all).split('\n');
	assert.is(received.pop(), '');
	assert.ok(received.length > 250 && received.length < 5000, `${received.length} lines came`);
	assert.equal(
		received,
		received.map((_, i) => text(i).trimEnd()),
	);
});

test('are not waited for without limit at the end', async () => {
	const { writeEnd } = pipe();
	writeEnd.forChild();
	const lines = new Lines(writeEnd.fd);
	for (let i = 0; i < 200; i++) lines.write(`${'.'.repeat(1000)}\n`);
	await lines.flush();
	lines.write('another\n');
	await lines.flush();
});

test('to a reader that has closed its end are no error', async () => {
	const { readEnd, writeEnd } = pipe();
	writeEnd.forChild();
	readEnd.close();
	const lines = new Lines(writeEnd.fd);
	for (let i = 0; i < 10; i++) lines.write('line\n');
	await lines.flush();
	const closed = new Lines(987_654);
	closed.write('line\n');
	await closed.flush();
});

for (const [what, prepare] of [
	['a progress pipe that is full', fullPipe],
	[
		'a progress pipe whose reader is gone',
		async () => {
			const { readEnd, writeEnd } = pipe();
			readEnd.close();
			return { writeEnd };
		},
	],
] as const) {
	test(`${what} does not stop a dump`, async () => {
		const { writeEnd } = await prepare();
		const { process, work, shards } = startCapture({ fds: [writeEnd], args: ['--progress-fd', '3'] });
		const stream = shards[0]!.all();
		const dump = await StandInDump.connect(work);
		await dump.finish();
		assert.is(await process.ends(), '');
		assert.ok((await stream).length > 0);
	});
}

test.run();

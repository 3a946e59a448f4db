// Scripts read these lines, so they are exactly those of the original.
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { imageEnd, streamOf, whole } from '../support/markers.js';
import { pipe, pipeOf } from '../support/pipe.js';
import { StandInDump, StandInRestore } from '../support/stand-in.js';
import { startCapture, startExtractFrom } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';

const test = suite('progress');
const stream = streamOf(...whole('a.img', 'content'), ...whole('inventory.img', 'i'), imageEnd());

/** Checks the line of statistics; returns one size per shard. */
function sizesIn(line: string | undefined): number[] {
	const shard = '\\{"size":(\\d+),"transfer_duration_millis":\\d+\\}';
	assert.match(line ?? '', new RegExp(`^\\{"shards":\\[${shard}(,${shard})*\\]\\}$`));
	return JSON.parse(line!).shards.map(({ size }: { size: number }) => size);
}

test('capture: socket-init, checkpoint-start, sizes', async () => {
	const { process, work, shards } = startCapture({ shards: 2 });
	const counts = Promise.all(shards.map((shard) => shard.count()));
	await process.line('socket-init');
	const dump = await StandInDump.connect({ work, process });
	await dump.put('cpuinfo.img', 'cpuinfo');
	assert.equal(process.lines, ['socket-init']);
	await dump.put('a.img', Buffer.alloc(100_000));
	await process.line('checkpoint-start');
	await dump.finish();
	await process.ends();
	assert.is(process.lines.length, 3);
	assert.equal(process.lines.slice(0, 2), ['socket-init', 'checkpoint-start']);
	assert.equal(sizesIn(process.lines[2]), await counts);
});

test('capture of cpuinfo.img alone: no checkpoint-start', async () => {
	const { process, work, shards } = startCapture();
	const count = shards[0]!.count();
	const dump = await StandInDump.connect({ work, process });
	await dump.put('cpuinfo.img', 'cpuinfo');
	dump.close();
	await process.ends();
	assert.is(process.lines.length, 2);
	assert.is(process.lines[0], 'socket-init');
	assert.equal(sizesIn(process.lines[1]), [await count]);
});

test('extract to disk: sizes', async () => {
	const { process } = startExtractFrom([pipeOf(stream)], { imagesDir: join(temporaryDirectory(), 'images') });
	await process.ends();
	assert.is(process.lines.length, 1);
	assert.equal(sizesIn(process.lines[0]), [stream.length]);
});

for (const command of ['extract', 'serve']) {
	test(`${command} as a replay: sizes, then socket-init`, async () => {
		const { process, work } = startExtractFrom([pipeOf(stream)], { command });
		await process.line('socket-init');
		const restore = await StandInRestore.connect({ work, process });
		assert.equal(await restore.read('a.img'), Buffer.from('content'));
		restore.close();
		await process.ends();
		assert.is(process.lines.length, 2);
		assert.equal(sizesIn(process.lines[0]), [stream.length]);
		assert.is(process.lines[1], 'socket-init');
	});
}

test('--progress-fd takes the lines, and stderr has none', async () => {
	const progress = pipe();
	const { process, work, shards } = startCapture({ args: ['--progress-fd', '3'], fds: [progress.writeEnd] });
	shards[0]!.count();
	await (await StandInDump.connect({ work, process })).finish({ 'a.img': 'a' });
	const lines = (await progress.readEnd.all()).toString().split('\n');
	assert.is(await process.ends(), '');
	assert.equal(lines.slice(0, 2), ['socket-init', 'checkpoint-start']);
	sizesIn(lines[2]);
	assert.equal(lines.slice(3), ['']);
});

test('a reader of progress lines may close its end', async () => {
	const progress = pipe();
	progress.readEnd.close();
	const { process, work, shards } = startCapture({ args: ['--progress-fd', '3'], fds: [progress.writeEnd] });
	const count = shards[0]!.count();
	await (await StandInDump.connect({ work, process })).finish({ 'a.img': 'a' });
	assert.is(await process.ends(), '');
	assert.ok((await count) > 0);
});

test('a reader of progress lines may close its end during a replay', async () => {
	const progress = pipe();
	const stdin = pipeOf(stream);
	const { process, work } = startExtractFrom([stdin], { args: ['-p', '3'], fds: [progress.writeEnd] });
	progress.readEnd.close();
	const restore = await StandInRestore.connect({ work, process });
	assert.equal(await restore.read('a.img'), Buffer.from('content'));
	restore.close();
	assert.is(await process.ends(), '');
});

test.run();

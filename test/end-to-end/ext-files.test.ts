// Files of the user are part of the image beside CRIU's, and are written out without being stored.

import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { content } from '../support/content.js';
import { data, file, fileEnd, imageEnd, streamOf, whole } from '../support/markers.js';
import { pipe, pipeOf } from '../support/pipe.js';
import { namesIn, StandInDump, StandInRestore, type Where } from '../support/stand-in.js';
import { Streamer, startExtract, startPipeline } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';

const test = suite('ext files');
const tar = content(1, 3_000_000);
const log = content(2, 70_000);

/** A restore that requests only inventory.img. */
async function restoreInventory(from: Where): Promise<void> {
	const restore = await StandInRestore.connect(from);
	assert.ok(await restore.read('inventory.img'));
	restore.close();
}

for (const shards of [undefined, 4]) {
	test(`two, both ways, ${shards ?? 'no'} shard fds`, async () => {
		const into = [pipe(), pipe()] as const;
		const out = [pipe(), pipe()] as const;
		const { capture, extract } = startPipeline({
			...(shards && { shards }),
			capture: { ext: { 'fs.tar': into[0].readEnd, 'app.log': into[1].readEnd } },
			extract: { ext: { 'fs.tar': out[0].writeEnd, 'app.log': out[1].writeEnd } },
		});
		const dump = await StandInDump.connect(capture);
		const got = out.map(({ readEnd }) => readEnd.all());
		const open = await dump.file('a.img');
		await Promise.all([into[0].writeEnd.end(tar), into[1].writeEnd.end(log), open.end(content(3, 500_000))]);
		await dump.finish();
		await capture.process.ends();
		assert.ok((await got[0]!).equals(tar));
		assert.ok((await got[1]!).equals(log));
		const restore = await StandInRestore.connect(extract);
		assert.ok((await restore.read('a.img'))?.equals(content(3, 500_000)));
		// It was written out already, and is not an image file.
		assert.is(await restore.read('fs.tar'), undefined);
		restore.close();
		await extract.process.ends();
	});
}

test('a file that ends after CRIU has disconnected is waited for', async () => {
	const into = pipe();
	const out = pipe();
	const { capture, extract } = startPipeline({
		capture: { ext: { 'fs.tar': into.readEnd } },
		extract: { ext: { 'fs.tar': out.writeEnd } },
	});
	const got = out.readEnd.all();
	await (await StandInDump.connect(capture)).finish();
	await into.writeEnd.end(tar);
	await capture.process.ends();
	assert.ok((await got).equals(tar));
	await restoreInventory(extract);
	await extract.process.ends();
});

test('is written out while the stream is still being received', async () => {
	const out = pipe();
	const { process, work, shards } = startExtract({ ext: { 'fs.tar': out.writeEnd } });
	const parts = [
		file('fs.tar'),
		data('first'),
		data('second'),
		fileEnd(),
		...whole('inventory.img', 'i'),
		imageEnd(),
	];
	const stream = streamOf(...parts);
	const half = streamOf(...parts.slice(0, 2)).length;
	await shards[0]!.write(stream.subarray(0, half));
	assert.is((await out.readEnd.exactly(5)).toString(), 'first');
	await shards[0]!.end(stream.subarray(half));
	assert.is((await out.readEnd.all()).toString(), 'second');
	await restoreInventory({ work, process });
	await process.ends();
});

test('beside an extract to disk, which does not write it', async () => {
	const out = pipe();
	const directory = join(temporaryDirectory(), 'images');
	const { process, shards } = startExtract({ imagesDir: directory, ext: { 'fs.tar': out.writeEnd } });
	const got = out.readEnd.all();
	await shards[0]!.end(streamOf(...whole('fs.tar', 'tar'), ...whole('inventory.img', 'i'), imageEnd()));
	await process.ends();
	assert.is((await got).toString(), 'tar');
	assert.equal(namesIn(directory), ['inventory.img']);
});

test('a file without a descriptor becomes a file of the image', async () => {
	const directory = join(temporaryDirectory(), 'images');
	const { process, shards } = startExtract({ imagesDir: directory });
	await shards[0]!.end(streamOf(...whole('fs.tar', 'tar'), imageEnd()));
	await process.ends();
	assert.equal(namesIn(directory), ['fs.tar']);
});

test('a name that CRIU uses too is an error that names the file', async () => {
	const { capture } = startPipeline({ capture: { ext: { 'core-1.img': pipeOf(tar) } } });
	const dump = await StandInDump.connect(capture);
	await dump.file('core-1.img').catch(() => undefined);
	assert.match(
		await capture.process.ends(1),
		/CRIU sent "core-1.img", the name of a file that was given by its descriptor: give that one another name/,
	);
});

test('a file that goes to stdout', async () => {
	const out = pipe();
	const args = ['--work-dir', temporaryDirectory(), '--ext-file-fds', 'fs.tar:1', 'extract'];
	const stdin = pipeOf(streamOf(...whole('fs.tar', 'tar'), ...whole('inventory.img', 'i'), imageEnd()));
	const process = new Streamer(args, { stdin, stdout: out.writeEnd });
	assert.is((await out.readEnd.all()).toString(), 'tar');
	await restoreInventory({ work: args[1]!, process });
	assert.match(await process.ends(), /^\{[^\n]+\}\nsocket-init\n$/);
});

const unfit: [what: string, command: string, fd: string, message: RegExp][] = [
	['not open, for a capture', 'capture', '99', /fd 99, for fs\.tar, is not open/],
	['not open, for an extract', 'extract', '99', /fd 99, for fs\.tar, is not open/],
	['the other end', 'extract', '3', /fd 3, for fs\.tar, is open for reading only/],
	['where the image comes from', 'extract', '0', /fd 0, for fs\.tar, is used by stdin already/],
];
for (const [what, command, fd, message] of unfit) {
	test(`refused at the start: ${what}`, async () => {
		const args = ['--work-dir', temporaryDirectory(), '--ext-file-fds', `fs.tar:${fd}`, command];
		const process = new Streamer(args, { stdin: pipe().readEnd, fds: [pipe().readEnd] });
		assert.match(await process.ends(2), message);
	});
}

test.run();

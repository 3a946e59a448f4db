// The requests of a restoring CRIU: in any order, for absent files, and not always to the end.
import * as assert from 'uvu/assert';
import { bytesWaiting } from '../../src/libc/pipes.js';
import { content } from '../support/content.js';
import { data, file, fileEnd, imageEnd, type Part, streamOf } from '../support/markers.js';
import { pipeOf, type WriteEnd } from '../support/pipe.js';
import { namesIn, StandInRestore } from '../support/stand-in.js';
import { type SideOptions, startExtract, startExtractFrom } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';

const test = suite('replay');

const SOCKET = 'streamer-serve.sock';
/** For criu-streamer-hook: this one stays when CRIU is connected, the image socket is removed. */
const CONTROL = 'streamer-serve-control.sock';

const pages = content(1, 5_000_000);
const small = content(2, 2000);

/** A file in pieces of 500 KB, with the marker of each. */
function pieces(name: string, bytes: Buffer): Part[] {
	const parts = [file(name)];
	for (let at = 0; at < bytes.length; at += 500_000) parts.push(data(bytes.subarray(at, at + 500_000)));
	return [...parts, fileEnd()];
}

const stream = streamOf(
	...pieces('pages-1.img', pages),
	...pieces('pages-2.img', pages),
	...pieces('small.img', small),
	...pieces('empty.img', Buffer.alloc(0)),
	...pieces('inventory.img', small),
	imageEnd(),
);

async function start(options: SideOptions & { command?: string } = {}) {
	const { process, work } = startExtractFrom([pipeOf(stream)], options);
	return { process, work, restore: await StandInRestore.connect({ work, process }) };
}

test('one file is opened, another is read first', async () => {
	const { process, restore } = await start();
	const first = await restore.open('pages-1.img');
	const second = await restore.open('pages-2.img');
	assert.ok((await restore.read('inventory.img'))?.equals(small));
	assert.ok((await second!.all()).equals(pages));
	assert.ok((await first!.all()).equals(pages));
	restore.close();
	await process.ends();
});

test('many files at once', async () => {
	const { process, restore } = await start();
	const names = ['pages-2.img', 'small.img', 'pages-1.img', 'empty.img', 'inventory.img'];
	const [second, tiny, first, empty] = await Promise.all(names.map((name) => restore.read(name)));
	assert.ok(first?.equals(pages) && second?.equals(pages) && tiny?.equals(small) && empty?.length === 0);
	restore.close();
	await process.ends();
});

test('an absent file is reported as absent', async () => {
	const { process, restore } = await start();
	for (const name of ['remap-fpath.img', 'pages-3.img', 'x'.repeat(200)])
		assert.is(await restore.read(name), undefined);
	assert.ok((await restore.read('small.img'))?.equals(small));
	restore.close();
	await process.ends();
});

test('a small file may be requested again', async () => {
	const { process, restore } = await start();
	for (let i = 0; i < 3; i++) assert.ok((await restore.read('small.img'))?.equals(small));
	restore.close();
	await process.ends();
});

test('pages requested again in one restore: an error with the reason, without --keep', async () => {
	const { process, restore } = await start();
	assert.ok((await restore.read('pages-1.img'))?.equals(pages));
	await restore.open('pages-1.img').catch(() => {});
	const message = await process.ends(1);
	assert.match(message, /"pages-1\.img" a second time.*hugetlb.*preadv.*extract --images-dir DIR/);
	assert.not.match(message, /--keep/);
});

test('pages requested again in another restore: an error that names --keep', async () => {
	const { process, work, restore } = await start({ args: ['--criu-clients', '2'] });
	assert.ok((await restore.read('pages-1.img'))?.equals(pages));
	restore.close();
	const second = await StandInRestore.connect(work);
	await second.open('pages-1.img').catch(() => {});
	assert.match(await process.ends(1), /"pages-1\.img" a second time.*--keep holds them/);
});

test('pages requested again with --keep: served, with a warning that CRIU cannot use them', async () => {
	const { process, restore } = await start({ args: ['--keep'] });
	for (let i = 0; i < 2; i++) assert.ok((await restore.read('pages-1.img'))?.equals(pages));
	restore.close();
	assert.match(await process.ends(), /warn.*"pages-1\.img" a second time.*hugetlb/);
});

for (const [what, read] of [
	['nothing', 0],
	['a few bytes', 10],
	['half', 2_500_000],
] as const) {
	test(`a pipe that CRIU closes after ${what} is not an error`, async () => {
		const { process, restore } = await start();
		const early = await restore.open('pages-1.img');
		if (read) assert.ok((await early!.exactly(read)).equals(pages.subarray(0, read)));
		early!.close();
		(await restore.open('empty.img'))!.close();
		(await restore.open('small.img'))!.close();
		assert.ok((await restore.read('pages-2.img'))?.equals(pages));
		restore.close();
		assert.not.match(await process.ends(), 'criu-image-streamer:');
	});
}

test('CRIU may close its connection while it is still reading', async () => {
	const { process, restore } = await start();
	const open = await restore.open('pages-1.img');
	restore.close();
	assert.ok((await open!.all()).equals(pages));
	await process.ends();
});

test('CRIU may leave files unread', async () => {
	const { process, restore } = await start();
	assert.ok((await restore.read('inventory.img'))?.equals(small));
	restore.close();
	await process.ends();
});

test('input after the last marker is still read, so that a writer behind a pipe ends without an error', async () => {
	const { process, shards } = startExtract();
	const [shard] = shards as [WriteEnd];
	await shard.write(stream);
	await until('the whole stream to be read', () => bytesWaiting(shard.fd) === 0);
	// The reader refuses it, which shows that it was read.
	await shard.end(Buffer.of(0));
	assert.match(await process.ends(1), /^criu-image-streamer: .*end/);
});

test('the socket appears only when the whole stream is received', async () => {
	const { process, work, shards } = startExtract();
	await shards[0]!.write(stream.subarray(0, stream.length - 1));
	assert.not.ok(namesIn(work).includes(SOCKET));
	await shards[0]!.end(stream.subarray(stream.length - 1));
	await process.line('socket-init');
	assert.ok(namesIn(work).includes(SOCKET));
	const restore = await StandInRestore.connect({ work, process });
	assert.ok((await restore.read('small.img'))?.equals(small));
	restore.close();
	await process.ends();
	assert.equal(namesIn(work), []);
});

for (const command of ['extract', 'serve']) {
	test(`${command} creates no files but its sockets`, async () => {
		const [work, cwd] = [temporaryDirectory(), temporaryDirectory()];
		const { process, restore } = await start({ command, work, cwd });
		assert.ok((await restore.read('pages-1.img'))?.equals(pages));
		assert.equal(namesIn(work), [CONTROL]);
		restore.close();
		await process.ends();
		assert.equal(namesIn(work), []);
		assert.equal(namesIn(cwd), []);
	});
}

test("serve accepts the original's --images-dir as the directory of its socket, and writes no file there", async () => {
	const [images, cwd] = [temporaryDirectory(), temporaryDirectory()];
	const { process } = startExtractFrom([pipeOf(stream)], { command: 'serve', imagesDir: images, cwd });
	const restore = await StandInRestore.connect(images);
	assert.ok((await restore.read('pages-1.img'))?.equals(pages));
	assert.equal(namesIn(images), [CONTROL]);
	restore.close();
	await process.ends();
	assert.equal(namesIn(images), []);
	assert.equal(namesIn(cwd), []);
});

test.run();

// 40,000 files, by several writers at once, some of which write 10 bytes at a time; then all of them are read back.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { content } from '../support/content.js';
import { namesIn, StandInDump, StandInRestore, type Where } from '../support/stand-in.js';
import { startPipeline } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { memoryDirectory } from '../support/temporary.js';

const FILES = 40_000;
const WRITERS = 8;
/** More than all of them take, each with its last page and its inode. */
const BYTES = 1 << 30;
const test = suite('many files');

/** Mostly small; every tenth is empty, every hundredth over 64 KiB. */
const sizeOf = (i: number) => (i % 10 === 0 ? 0 : i % 100 === 1 ? 70_000 : (i * 37) % 3000);
const nameOf = (i: number) => `file-${i}.img`;

async function dumpAll(to: Where): Promise<void> {
	const dump = await StandInDump.connect(to);
	let next = 0;
	const writer = async () => {
		for (let i = next++; i < FILES; i = next++) {
			const bytes = content(i, sizeOf(i));
			const out = await dump.file(nameOf(i));
			const piece = i % 50 === 7 ? 10 : 20_000;
			for (let at = 0; at < bytes.length; at += piece) await out.write(bytes.subarray(at, at + piece));
			out.close();
		}
	};
	await Promise.all(Array.from({ length: WRITERS }, writer));
	await dump.finish();
}

test('replayed, through four shards', async () => {
	const { capture, extract } = startPipeline({ shards: 4 });
	await dumpAll(capture);
	await capture.process.ends();
	const restore = await StandInRestore.connect(extract);
	let next = 0;
	const reader = async () => {
		for (let i = next++; i < FILES; i = next++) {
			const got = await restore.read(nameOf(i));
			assert.ok(got?.equals(content(i, sizeOf(i))), `${nameOf(i)} is not what was dumped`);
		}
	};
	await Promise.all(Array.from({ length: WRITERS }, reader));
	restore.close();
	await extract.process.ends();
});

test('to disk', async () => {
	const directory = join(memoryDirectory(BYTES), 'images');
	const { capture, extract } = startPipeline({ extract: { imagesDir: directory } });
	await dumpAll(capture);
	await capture.process.ends();
	await extract.process.ends();
	assert.is(namesIn(directory).length, FILES + 1);
	for (let i = 0; i < FILES; i++) {
		assert.ok(
			readFileSync(join(directory, nameOf(i))).equals(content(i, sizeOf(i))),
			`${nameOf(i)} is not what was dumped`,
		);
	}
});

test.run();

/** Tests that the output of an extract equals the input of a capture, for any two programs. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { content } from './content.js';
import { namesIn, StandInDump, StandInRestore, type Where } from './stand-in.js';
import { type Program, startPipeline } from './streamer.js';
import { suite } from './suite.js';
import { temporaryDirectory } from './temporary.js';

/** Sizes around the limits: nothing, less and more than a page, a pipe of 64 KiB, one of 1 MiB. */
const sizes = [
	0,
	1,
	100,
	4095,
	4096,
	4097,
	65_535,
	65_536,
	65_537,
	300_000,
	(1 << 20) - 1,
	1 << 20,
	5_000_011,
];
const files = new Map(sizes.map((bytes, i) => [`file-${i}.img`, content(i + 1, bytes)]));

/** Several files at once, in pieces, as CRIU writes; then inventory.img. */
async function dumpAll(to: Where): Promise<void> {
	const dump = await StandInDump.connect(to);
	await Promise.all(
		[...files].map(async ([name, bytes]) => {
			const out = await dump.file(name);
			for (let at = 0; at < bytes.length; at += 70_001) await out.write(bytes.subarray(at, at + 70_001));
			out.close();
		}),
	);
	await dump.finish();
}

async function restoreAll(from: Where): Promise<void> {
	const restore = await StandInRestore.connect(from);
	assert.equal(await restore.read('inventory.img'), Buffer.from('inventory'));
	assert.is(await restore.read('absent.img'), undefined);
	// Not in the order of the stream.
	for (const [name, bytes] of [...files].reverse()) {
		assert.ok((await restore.read(name))?.equals(bytes), `${name} is not what was dumped`);
	}
	restore.close();
}

function checkDirectory(directory: string): void {
	assert.equal(namesIn(directory), [...files.keys(), 'inventory.img'].sort());
	for (const [name, bytes] of files) {
		assert.ok(readFileSync(join(directory, name)).equals(bytes), `${name} is not what was dumped`);
	}
}

/** Runs the suite `name`; the programs are determined within each test, which may be skipped thereby. */
export function roundTrips(name: string, writer: () => Program, reader: () => Program): void {
	const test = suite(name);
	for (const shards of [undefined, 1, 4, 32]) {
		const what = shards === undefined ? 'stdout to stdin' : `${shards} shards`;
		const setUp = (imagesDir?: string) =>
			startPipeline({
				...(shards && { shards }),
				capture: { program: writer() },
				extract: { program: reader(), ...(imagesDir && { imagesDir }) },
			});
		test(`${what}, replayed`, async () => {
			const { capture, extract } = setUp();
			await dumpAll(capture);
			await capture.process.ends();
			await restoreAll(extract);
			await extract.process.ends();
		});
		test(`${what}, to disk`, async () => {
			const directory = join(temporaryDirectory(), 'images');
			const { capture, extract } = setUp(directory);
			await dumpAll(capture);
			await capture.process.ends();
			await extract.process.ends();
			checkDirectory(directory);
		});
	}
	test.run();
}

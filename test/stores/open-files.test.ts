/** A process with a low limit on open files still receives an image of many large files, and serves them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { content } from '../support/content.js';
import { data, file, fileEnd, imageEnd, type Part, streamOf } from '../support/markers.js';
import { namesIn, StandInDump, StandInRestore } from '../support/stand-in.js';
import { ours, type Program, startCapture, startExtract } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';

const test = suite('a limit on open files', { together: 2 });

const FILES = 700;
const LIMIT = 400;
/** Size of a file: more than is kept in memory. */
const BYTES = 70_000;

const limited = (files: number): Program => [
	'bash',
	'-c',
	`ulimit -n ${files} && exec "$@"`,
	'bash',
	...ours,
];

test('an extract to disk', async () => {
	const directory = join(temporaryDirectory(), 'images');
	const program = limited(LIMIT);
	const { process, shards } = startExtract({ program, imagesDir: directory, command: 'extract' });
	const names = Array.from({ length: FILES }, (_, i) => `file-${i}.img`);
	// One after the other: each open file needs a descriptor.
	const parts = names.map((name, i) => [file(name), data(content(i, BYTES)), fileEnd()]);
	await shards[0]!.end(streamOf(...parts.flat(), imageEnd()));
	await process.ends();
	assert.equal(namesIn(directory), names.sort());
	for (const name of names) {
		const i = Number(/\d+/.exec(name)![0]);
		assert.ok(readFileSync(join(directory, name)).equals(content(i, BYTES)), name);
	}
});

/** The stream of all files, `together` of them at a time, in two halves each. */
function imageOf(together: number): Buffer {
	const parts: Part[] = [];
	for (let first = 0; first < FILES; first += together) {
		const some = Array.from({ length: Math.min(together, FILES - first) }, (_, i) => first + i);
		const half = (i: number, from: number, to?: number) => [
			file(name(i)),
			data(content(i, BYTES).subarray(from, to)),
		];
		parts.push(...some.flatMap((i) => half(i, 0, BYTES / 2)));
		parts.push(...some.flatMap((i) => [...half(i, BYTES / 2), fileEnd()]));
	}
	return streamOf(...parts, imageEnd());
}

const name = (i: number) => `file-${i}.img`;
const ways: [what: string, args: () => string[]][] = [
	['', () => []],
	[', kept', () => ['--keep']],
	[', most of it in a spool', () => ['--memory-limit', '5M', '--spool', temporaryDirectory()]],
	[', kept in a spool', () => ['--keep', '--memory-limit', '0', '--spool', temporaryDirectory()]],
];
for (const [what, args] of ways) {
	for (const [limit, together] of [
		[128, 1],
		[1024, 100],
		[1400, 100],
	] as const) {
		const how = together > 1 ? `, ${together} files at a time` : '';
		test(`a replay under ulimit -n ${limit}${how}${what}`, async () => {
			const work = temporaryDirectory();
			const { process, shards } = startExtract({ program: limited(limit), work, args: args() });
			await shards[0]!.end(imageOf(together));
			const restore = await StandInRestore.connect({ work, process });
			for (let i = 0; i < FILES; i++)
				assert.ok((await restore.read(name(i)))?.equals(content(i, BYTES)), name(i));
			restore.close();
			await process.ends();
		});
	}
}

test('an extract to disk of more files at once than may be open: an error that names the limit', async () => {
	const directory = join(temporaryDirectory(), 'images');
	const { process, shards } = startExtract({
		program: limited(128),
		imagesDir: directory,
		command: 'extract',
	});
	const begun = Array.from({ length: 200 }, (_, i) => [file(name(i)), data(content(i, BYTES))]);
	await shards[0]!.end(streamOf(...begun.flat())).catch(() => {});
	assert.match(await process.ends(1), /EMFILE.*may have 128 files open: .*ulimit -n/);
	assert.equal(namesIn(directory), []);
});

/** Low, and enough for Node itself. */
const FEW = 64;

test('a dump with more files at once than may be open: an error that names the limit', async () => {
	const { process, work, shards } = startCapture({ program: limited(FEW) });
	const reading = shards[0]!.count();
	const dump = await StandInDump.connect({ work, process });
	const opened = async () => {
		for (let i = 0; i < 2 * FEW; i++) await (await dump.file(name(i))).write(Buffer.alloc(10));
	};
	await opened().catch(() => {});
	assert.match(await process.ends(1), new RegExp(`may have ${FEW} files open: .*ulimit -n`));
	dump.close();
	await reading;
});

test.run();

/** The memory of a replay: the image and little more, however small the received pieces, and wherever it is stored. */

import { closeSync, constants, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { bytesWaiting, pipeSize } from '../../src/libc/pipes.js';
import { content } from '../support/content.js';
import { data, file, fileEnd, imageEnd, type Part, streamOf } from '../support/markers.js';
import type { WriteEnd } from '../support/pipe.js';
import { StandInRestore } from '../support/stand-in.js';
import { ours, type Program, startExtract } from '../support/streamer.js';
import { full, suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';

const MB = 1 << 20;
const PIECE = 100;
/** Maximum for Node with its heap, koffi and the buffers of a shard: the needs of a process without the image. */
const MAX_RESIDENT = 160 * MB;
const IMAGE = content(1, (full ? 256 : 24) * MB);

/** The capacity of the pipes of `pid`, where a slot takes up a page at most, and the bytes that they hold. */
function parked(pid: number): { pages: number; bytes: number; pipes: number } {
	const found = { pages: 0, bytes: 0, pipes: 0 };
	for (const fd of readdirSync(`/proc/${pid}/fd`)) {
		const path = `/proc/${pid}/fd/${fd}`;
		if (!readlinkSync(path).startsWith('pipe:')) continue;
		let own: number;
		try {
			own = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
		} catch {
			continue;
		}
		const bytes = bytesWaiting(own);
		if (bytes) {
			found.pages += pipeSize(own);
			found.bytes += bytes;
			found.pipes++;
		}
		closeSync(own);
	}
	return found;
}

function resident(pid: number): number {
	return 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
}

/** Resolves when the shard is empty. */
const drained = (shard: WriteEnd) => until('the stream to be read', () => bytesWaiting(shard.fd) === 0);

/** Sends the stream of one file up to its end with `send`; then checks the memory, and restores the file. */
async function replayed(send: (shard: WriteEnd) => Promise<number>): Promise<void> {
	const { process, work, shards } = startExtract();
	const [shard] = shards;
	const next = await send(shard!);
	await drained(shard!);
	const { pages, pipes } = parked(process.pid);
	assert.ok(pipes > 1, `${pipes} pipes hold the image`);
	assert.ok(pages <= 1.3 * IMAGE.length, `${pages} bytes of pipes for an image of ${IMAGE.length}`);
	assert.ok(resident(process.pid) < MAX_RESIDENT, `${resident(process.pid)} bytes resident`);
	await shard!.end(rest(next, fileEnd(), imageEnd()));
	const restore = await StandInRestore.connect(work);
	assert.ok((await restore.read('pages-1.img'))?.equals(IMAGE), 'it has the sent content');
	restore.close();
	await process.ends();
}

/** `parts` with numbers from `seq` on. */
function rest(seq: number, ...parts: Part[]): Buffer {
	return streamOf({ ...parts[0]!, seq }, ...parts.slice(1));
}

const test = suite('memory');

test(`a sender that writes ${PIECE} bytes at a time`, async () => {
	await replayed(async (shard) => {
		await shard.write(streamOf(file('pages-1.img'), data(IMAGE.subarray(0, 0), IMAGE.length)));
		for (let at = 0; at < IMAGE.length; at += PIECE) await shard.write(IMAGE.subarray(at, at + PIECE));
		return 2;
	});
});

test(`a sender that waits between ${PIECE} bytes and the next until they are read`, async () => {
	await replayed(async (shard) => {
		await shard.write(streamOf(file('pages-1.img'), data(IMAGE.subarray(0, 0), IMAGE.length)));
		// Slow at first, fast later: this shows the memory wasted by then.
		for (let at = 0; at < 20_000; at += PIECE) {
			await shard.write(IMAGE.subarray(at, at + PIECE));
			await drained(shard);
		}
		await shard.write(IMAGE.subarray(20_000));
		return 2;
	});
});

test(`a sender whose every marker carries ${PIECE} bytes`, async () => {
	await replayed(async (shard) => {
		let seq = 1;
		await shard.write(streamOf(file('pages-1.img')));
		const batch: Buffer[] = [];
		for (let at = 0; at < IMAGE.length; at += PIECE) {
			batch.push(rest(seq++, data(IMAGE.subarray(at, at + PIECE))));
			if (batch.length === 1000) await shard.write(Buffer.concat(batch.splice(0)));
		}
		await shard.write(Buffer.concat(batch));
		return seq;
	});
});

/** Replays an image of several files, and returns the messages. */
async function replayWith(program: Program, env: Record<string, string> = {}, args: string[] = []) {
	const work = temporaryDirectory();
	const { process, shards } = startExtract({ program, env, work, args: ['-v', ...args] });
	const names = ['pages-1.img', 'pages-2.img', 'pages-3.img'];
	const third = Math.floor(IMAGE.length / 3);
	const parts = names.map((_, i) => IMAGE.subarray(i * third, (i + 1) * third));
	await shards[0]!.end(
		streamOf(...names.flatMap((name, i) => [file(name), data(parts[i]!), fileEnd()]), imageEnd()),
	);
	const restore = await StandInRestore.connect(work);
	for (const [i, name] of names.entries()) {
		assert.ok((await restore.read(name))?.equals(parts[i]!), `${name} has the sent content`);
	}
	restore.close();
	await process.ends();
	return process;
}

const inMemoryFiles = (lines: string[]) => lines.filter((line) => /is kept in a memory file/.test(line));

test('the kernel creates no more pipes: memory files, reported once', async () => {
	const { lines } = await replayWith(ours, { CRIU_STREAMER_FAULTS: 'pipe2:EMFILE:=5' });
	assert.is(inMemoryFiles(lines).length, 1, lines.join('\n'));
	assert.match(inMemoryFiles(lines)[0]!, /makes no more pipes/);
});

test('few descriptors: memory files, reported once', async () => {
	const { lines } = await replayWith(['prlimit', '--nofile=1030:1030', ...ours]);
	assert.is(inMemoryFiles(lines).length, 1, lines.join('\n'));
	assert.match(inMemoryFiles(lines)[0]!, /no descriptors left/);
});

test('--memory-limit without --spool: an error with the hint, and no socket', async () => {
	const { process, work, shards } = startExtract({ args: ['--memory-limit', '4M'] });
	const stream = streamOf(file('pages-1.img'), data(IMAGE), fileEnd(), imageEnd());
	await shards[0]!.end(stream).catch(() => {});
	assert.match(
		await process.ends(1),
		/more than the 4194304 bytes of memory.* \(--memory-limit\); .*--spool DIR/,
	);
	assert.equal(readdirSync(work), []);
});

test('--memory-limit with --spool: the whole image is received, and the spool is empty afterwards', async () => {
	const spool = temporaryDirectory();
	const { lines } = await replayWith(ours, {}, ['--memory-limit', '4M', '--spool', spool]);
	assert.is(lines.filter((line) => line.includes(spool)).length, 1, lines.join('\n'));
	assert.equal(readdirSync(spool), []);
});

/** Beside its content: a name, an object and an entry in a map are 130 bytes; the rest is reserve. */
const MAX_PER_FILE = 250;
const SMALL = 100;
const nameOf = (i: number) => `core-${100_000 + i}.img`;
const bodyOf = (i: number) => content(i % 1000, SMALL);

/** Replays an image of so many small files, and returns the peak of what the process had resident. */
async function residentWith(files: number): Promise<number> {
	const { process, work, shards } = startExtract();
	const batch = 1000;
	for (let first = 0; first < files; first += batch) {
		const numbers = Array.from({ length: batch }, (_, i) => first + i);
		const parts = numbers.flatMap((i) => [file(nameOf(i)), data(bodyOf(i)), fileEnd()]);
		await shards[0]!.write(rest(3 * first, ...parts));
	}
	await shards[0]!.end(rest(3 * files, imageEnd()));
	const restore = await StandInRestore.connect({ work, process });
	for (const i of [0, files >> 1, files - 1])
		assert.ok((await restore.read(nameOf(i)))?.equals(bodyOf(i)), nameOf(i));
	const bytes = resident(process.pid);
	restore.close();
	await process.ends();
	return bytes;
}

test('many small files: their content, and little for each of them', async () => {
	const few = 20_000;
	const many = 150_000;
	const each = ((await residentWith(many)) - (await residentWith(few))) / (many - few);
	assert.ok(each < SMALL + MAX_PER_FILE, `${Math.round(each)} bytes for each file of ${SMALL}`);
});

test.run();

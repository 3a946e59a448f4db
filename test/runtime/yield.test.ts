// Work that never has to wait, since files and memory are always ready, yields to the event loop for signals and other
// tasks.
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { sendFile } from '../../src/capture/send-file.js';
import { NullStore } from '../../src/stores/null.js';
import { ShardBalancer } from '../../src/stream/balancer.js';
import { ImageWriter } from '../../src/stream/image-writer.js';
import { load } from '../../src/stream/load.js';
import { afterwards } from '../support/cleanup.js';
import { data, file, streamOf } from '../support/markers.js';
import { ours, Streamer } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';

const test = suite('yielding to the event loop');

/** No machine writes, or reads, so many bytes between two yields. */
const WRITTEN = 256 << 20;
const READ = 1_000_000_000;
/** Eight of these are not read before a signal comes. */
const PART = 4_000_000_000;

/** How many iterations of the event loop ran during `work`. */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
	let turns = 0;
	let over = false;
	const count = () => {
		turns++;
		if (!over) setImmediate(count);
	};
	setImmediate(count);
	try {
		await work();
	} finally {
		over = true;
	}
	return turns;
}

function opened(path: string, flags: string): number {
	const fd = openSync(path, flags);
	afterwards(() => closeSync(fd));
	return fd;
}

/** A sparse file of `bytes` zeros after `start`. */
function sparse(start: Uint8Array, bytes: number): string {
	const path = join(temporaryDirectory(), 'sparse');
	const fd = openSync(path, 'w');
	writeSync(fd, start);
	ftruncateSync(fd, start.length + bytes);
	closeSync(fd);
	return path;
}

const shard = (fd: number) => ({ fd, name: `shard fd ${fd}`, stallMillis: 0 });

test('a file into a shard that is a file', async () => {
	const controller = new AbortController();
	const source = { name: 'ext', fd: opened(sparse(Buffer.alloc(0), WRITTEN), 'r'), by: 'copy' as const };
	const balance = new ShardBalancer([shard(opened(join(temporaryDirectory(), 'shard'), 'w'))], controller);
	const image = new ImageWriter(balance);
	assert.ok((await turnsDuring(() => sendFile(source, image, controller.signal))) > 1);
});

test('a shard that is a file', async () => {
	const fd = opened(sparse(streamOf(file('a'), data('', READ)), READ), 'r');
	const store = new NullStore();
	afterwards(() => store.close());
	const turns = await turnsDuring(async () => {
		try {
			await load([shard(fd)], store, new AbortController());
		} catch (error) {
			assert.match((error as Error).message, /ends before the image does/);
		}
	});
	assert.ok(turns > 1);
});

test('SIGTERM ends an extract that reads a large file', async () => {
	const part = streamOf(file('ext'), data('', PART));
	const path = sparse(part, PART);
	const fd = openSync(path, 'r+');
	const heads = [2, 3, 4, 5, 6, 7, 8].map((seq) => streamOf({ ...data('', PART), seq }));
	let end = part.length + PART;
	for (const head of heads) {
		writeSync(fd, head, 0, head.length, end);
		end += head.length + PART;
		ftruncateSync(fd, end);
	}
	closeSync(fd);
	// The position of the file, which is shared with the child, shows how much the child has read.
	const input = opened(path, 'r');
	const ext = opened('/dev/null', 'w');
	const at = () => Number(/pos:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${input}`, 'utf8'))![1]);
	const given = (end: number) => ({ fd: end, forChild: () => end, close() {} }) as never;
	const args = ['--work-dir', temporaryDirectory(), '--ext-file-fds', 'ext:3', 'extract'];
	const extract = new Streamer(args, { program: ours, stdin: given(input), fds: [given(ext)] });
	await until('the extract to read', () => at() > 1 << 20);
	extract.kill('SIGTERM');
	await extract.ends(143);
	assert.ok(at() < end, 'it read on to the end');
});

test.run();

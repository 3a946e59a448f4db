// A slow shard must not hold up the others: it gets only as much data as it can take.
import * as assert from 'uvu/assert';
import { bytesWaiting } from '../../src/libc/pipes.js';
import { content } from '../support/content.js';
import type { ReadEnd } from '../support/pipe.js';
import { StandInDump } from '../support/stand-in.js';
import { startCapture } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { until } from '../support/until.js';

const MB = 1_000_000;
const test = suite('load balancing');

test('one of four shards, at 1 MB while the others take 80, gets under 2 of 40 MB', async () => {
	const { process, work, shards } = startCapture({ shards: 4 });
	const [slow, ...fast] = shards as [ReadEnd, ...ReadEnd[]];
	let taken = 0;
	let slowBytes = 0;
	// Only one reader at a time reads the slow shard: another would wait for bytes that the first has taken.
	let takesSlow = false;
	// No clock, which depends on the load of the machine: the slow shard is read in proportion to the others.
	const readFast = async (shard: ReadEnd) => {
		for (let some: Buffer | undefined; (some = await shard.take()); ) {
			taken += some.length;
			while (!takesSlow && slowBytes + 4096 < taken / 80 && bytesWaiting(slow.fd) > 0) {
				takesSlow = true;
				const bit = await slow.take(4096);
				takesSlow = false;
				slowBytes += bit!.length;
			}
		}
	};
	const reading = Promise.all(fast.map(readFast));
	const dump = await StandInDump.connect({ work, process });
	await dump.finish({ 'pages-1.img': content(1, 40 * MB) });
	// A capture ends when its shards are empty, so the slow one is read at last.
	await until('all bytes to be in the shards', () => taken + slowBytes + bytesWaiting(slow.fd) > 40 * MB);
	const rest = await slow.count();
	slowBytes += rest;
	await reading;
	await process.ends();
	assert.ok(slowBytes < 2 * MB, `the slow shard got ${slowBytes} bytes`);
});

test('all shards of equal speed get data', async () => {
	const { process, work, shards } = startCapture({ shards: 4 });
	const counts = Promise.all(shards.map((shard) => shard.count()));
	const dump = await StandInDump.connect({ work, process });
	await dump.finish({ 'pages-1.img': content(1, 40 * MB) });
	await process.ends();
	for (const bytes of await counts) assert.ok(bytes > 100_000, `${bytes} bytes on one of four shards`);
});

test.run();

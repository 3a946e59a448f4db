/** Hundreds of captures and replays in one process: neither descriptors nor memory grow with their number. */
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { capture } from '../../src/capture/capture.js';
import { ListeningSocket } from '../../src/criu/socket.js';
import { serve } from '../../src/restore/serve.js';
import { HeldStore } from '../../src/stores/held.js';
import { load } from '../../src/stream/load.js';
import { mark, unwind } from '../support/cleanup.js';
import { content } from '../support/content.js';
import { descriptorsAtFirst, openDescriptors } from '../support/descriptors.js';
import { pipe } from '../support/pipe.js';
import { StandInDump, StandInRestore } from '../support/stand-in.js';
import { full, suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';

const test = suite('soak');
const ROUNDS = full ? 500 : 100;
/** Rounds after which caches and pools have their final size. */
const WARM = 15;
/** Maximum for the garbage of a few rounds: far below an image for each round. */
const MAX_GROWTH = 48 << 20;
const files = new Map(
	[0, 100, 65_537, full ? 20_000_000 : 2_000_000].map((bytes, i) => [
		`pages-${i}.img`,
		content(i + 1, bytes),
	]),
);

/** A capture into a store, and its replay; with `breakOff`, the dump is interrupted and the store never served. */
async function round(references: boolean, shards: number, breakOff: boolean): Promise<void> {
	const work = temporaryDirectory();
	const dumpSocket = ListeningSocket.at(join(work, 'streamer-capture.sock'), 1);
	const serveSocket = ListeningSocket.at(join(work, 'streamer-serve.sock'), 1);
	const pipes = Array.from({ length: shards }, pipe);
	const shardOf = ({ fd }: { fd: number }, i: number) => ({ fd, name: `shard ${i}`, stallMillis: 0 });
	const log = { info() {} };
	const store = new HeldStore({ keep: false, memoryLimit: undefined, spool: undefined, log });
	const controller = new AbortController();
	const loading = load(
		pipes.map(({ readEnd }, i) => shardOf(readEnd, i)),
		store,
		controller,
	).catch((error) => error);
	const capturing = capture({
		criu: dumpSocket,
		shards: pipes.map(({ writeEnd }, i) => shardOf(writeEnd, i)),
		extFiles: [],
		plan: () => ({ references: references ? 'always' : 'never' }),
		log,
		allowIncomplete: false,
		onStart() {},
	}).then(
		({ criuClosed }) => criuClosed,
		(error) => error,
	);
	const dump = await StandInDump.connect(work);
	await Promise.all([...files].map(([name, bytes]) => dump.put(name, bytes)));
	if (breakOff) dump.close();
	else await dump.finish();
	const captured = await capturing;
	for (const { writeEnd } of pipes) writeEnd.close();
	const loaded = await loading;
	if (breakOff) {
		assert.match(captured.message, /without inventory\.img/);
		assert.match(loaded.message, /ends (before the image does|in the middle)|is missing/);
	} else {
		assert.is(captured, undefined);
		const serving = serve({ criu: serveSocket, image: store.image });
		const restore = await StandInRestore.connect(work);
		for (const [name, bytes] of files) assert.ok((await restore.read(name))?.equals(bytes), name);
		restore.close();
		await serving;
	}
	store.close();
	dumpSocket.close();
	serveSocket.close();
}

test(
	`${ROUNDS} captures and replays in one process`,
	async () => {
		let before = { fds: 0, bytes: 0 };
		for (let i = 0; i < ROUNDS; i++) {
			const start = mark();
			await round(i % 2 === 0, 1 + (i % 3), i % 5 === 4);
			await unwind(start);
			if (i === WARM) before = { fds: await descriptorsAtFirst(), bytes: process.memoryUsage.rss() };
		}
		assert.is(openDescriptors(), before.fds, 'descriptors');
		const growth = process.memoryUsage.rss() - before.bytes;
		assert.ok(growth < MAX_GROWTH, `${growth} bytes of memory more than after ${WARM} rounds`);
	},
	{ seconds: 3600 },
);

test.run();

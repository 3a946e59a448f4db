// A file past 32 bits, compared byte by byte.
import { createReadStream, readFileSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { checkLarge, writeLarge } from '../support/content.js';
import { StandInDump, StandInRestore, type Where } from '../support/stand-in.js';
import { startPipeline } from '../support/streamer.js';
import { full, skipImpossible, suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';

/** Past what 32 bits count, by more than all that is held back on the way. */
const BYTES = full ? 5 * 1024 ** 3 : 4 * 1024 ** 3 + 64 * 1024 ** 2;
const SECONDS = 1200;
const test = suite('a file of over 4 GiB');

async function dumpLarge(to: Where): Promise<void> {
	const dump = await StandInDump.connect(to);
	await writeLarge(await dump.file('pages-1.img'), BYTES);
	await dump.finish();
}

test(
	'to disk',
	async () => {
		const { bavail, bsize } = statfsSync(tmpdir());
		if (bavail * bsize < BYTES * 1.2) skipImpossible(`${tmpdir()} has no room for a file of ${BYTES} bytes`);
		const directory = join(temporaryDirectory(), 'images');
		const { capture, extract } = startPipeline({ extract: { imagesDir: directory } });
		await dumpLarge(capture);
		await capture.process.ends();
		await extract.process.ends();
		const content = createReadStream(join(directory, 'pages-1.img'), { highWaterMark: 1 << 20 });
		assert.is(await checkLarge(content), BYTES);
	},
	{ seconds: SECONDS },
);

test(
	'replayed',
	async () => {
		const available = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'));
		if (Number(available?.[1]) * 1024 < BYTES * 1.5)
			skipImpossible(`the machine has no memory for a file of ${BYTES} bytes`);
		const { capture, extract } = startPipeline({ shards: 4 });
		await dumpLarge(capture);
		await capture.process.ends();
		const restore = await StandInRestore.connect(extract);
		const pages = await restore.open('pages-1.img');
		assert.is(await checkLarge(pages!.chunks()), BYTES);
		restore.close();
		await extract.process.ends();
	},
	{ seconds: SECONDS },
);

test.run();

// A file with a size over 32 bits, with a checksum at both ends.
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { readLarge, writeLarge } from '../support/content.js';
import { StandInDump, StandInRestore, type Where } from '../support/stand-in.js';
import { startPipeline } from '../support/streamer.js';
import { skipImpossible, suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';

const BYTES = 5 * 1024 ** 3;
const SECONDS = 1200;
const test = suite('a file of 5 GB');

async function dumpLarge(to: Where): Promise<string> {
	const dump = await StandInDump.connect(to);
	const sha256 = await writeLarge(await dump.file('pages-1.img'), BYTES);
	await dump.finish();
	return sha256;
}

test(
	'to disk',
	async () => {
		const { bavail, bsize } = statfsSync(tmpdir());
		if (bavail * bsize < BYTES * 1.2) skipImpossible(`${tmpdir()} has no room for a file of 5 GB`);
		const directory = join(temporaryDirectory(), 'images');
		const { capture, extract } = startPipeline({ extract: { imagesDir: directory } });
		const sha256 = await dumpLarge(capture);
		await capture.process.ends();
		await extract.process.ends();
		const hash = createHash('sha256');
		let bytes = 0;
		for await (const chunk of createReadStream(join(directory, 'pages-1.img'), { highWaterMark: 1 << 20 })) {
			hash.update(chunk);
			bytes += chunk.length;
		}
		assert.is(bytes, BYTES);
		assert.is(hash.digest('hex'), sha256);
	},
	{ seconds: SECONDS },
);

test(
	'replayed',
	async () => {
		const available = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'));
		if (Number(available?.[1]) * 1024 < BYTES * 1.5) skipImpossible('the machine has no memory for 5 GB');
		const { capture, extract } = startPipeline({ shards: 4 });
		const sha256 = await dumpLarge(capture);
		await capture.process.ends();
		const restore = await StandInRestore.connect(extract);
		const pages = await restore.open('pages-1.img');
		assert.equal(await readLarge(pages!), { bytes: BYTES, sha256 });
		restore.close();
		await extract.process.ends();
	},
	{ seconds: SECONDS },
);

test.run();

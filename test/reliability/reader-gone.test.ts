/** The death of a reader is noticed even while its pipe is full and nothing can be written. */
import * as assert from 'uvu/assert';
import { bytesWaiting } from '../../src/libc/pipes.js';
import { content } from '../support/content.js';
import { StandInDump } from '../support/stand-in.js';
import { startCapture } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { settled } from '../support/until.js';

const test = suite('a reader that is gone');
const LARGE = content(1, 8 << 20);

for (const mode of ['always', 'never']) {
	for (const shards of [1, 3]) {
		test(`of ${shards}, --zero-copy ${mode}`, async () => {
			const { process, work, shards: ends } = startCapture({ shards, args: ['--zero-copy', mode] });
			const dump = await StandInDump.connect(work);
			const out = await dump.file('pages-1.img');
			const writing = out.write(LARGE).then(
				() => 'all was taken',
				() => 'refused',
			);
			await settled('the pipes', () => ends.reduce((sum, { fd }) => sum + bytesWaiting(fd), 0));
			for (const end of ends) end.close();
			assert.match(await process.ends(1), /its reader has closed it/);
			assert.is(await writing, 'refused');
		});
	}
}

test.run();

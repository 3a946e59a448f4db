// A user who has used up the pipe pages that the kernel grants gets pipes of two pages, which cannot be enlarged.
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { enlargePipe, pipeSize } from '../../src/libc/pipes.js';
import { pipe } from '../support/pipe.js';
import { Streamer } from '../support/streamer.js';
import { skipImpossible, suite } from '../support/suite.js';

const test = suite('sizes of pipes');
const CHILD = fileURLToPath(new URL('small-pipes-child.ts', import.meta.url));

for (const by of ['reference', 'copy']) {
	test(`a file by ${by}, through shards and a store`, async () => {
		const child = new Streamer([by], { program: [process.execPath, '--import', 'tsx', CHILD] });
		const end = await child.end;
		if (end === 'exit code 3')
			skipImpossible('only root can become a user without pipes, and the kernel may have no limit on them');
		assert.is(end, 'exit code 0', child.stderr);
	});
}

test('a pipe that is larger than requested keeps its size', () => {
	const { readEnd } = pipe();
	const size = enlargePipe(readEnd.fd, 256 << 10);
	assert.is(enlargePipe(readEnd.fd, 128 << 10), size);
	assert.is(pipeSize(readEnd.fd), size);
});

test.run();

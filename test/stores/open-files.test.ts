/** A process that may open few files still takes an image of many large ones. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { content } from '../support/content.js';
import { data, file, fileEnd, imageEnd, streamOf } from '../support/markers.js';
import { namesIn } from '../support/stand-in.js';
import { ours, startExtract } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/temporary.js';

const test = suite('a limit on open files');

const FILES = 700;
const LIMIT = 400;
/** More than what stays in memory, each. */
const BYTES = 70_000;

test('an extract to disk', async () => {
	const folder = join(temporaryFolder(), 'images');
	const program = ['bash', '-c', `ulimit -n ${LIMIT} && exec "$@"`, 'bash', ...ours] as const;
	const { process, shards } = startExtract({ program, imagesDir: folder, command: 'extract' });
	const names = Array.from({ length: FILES }, (_, i) => `file-${i}.img`);
	// One after the other: what is open at a time needs its descriptors.
	const parts = names.map((name, i) => [file(name), data(content(i, BYTES)), fileEnd()]);
	await shards[0]!.end(streamOf(...parts.flat(), imageEnd()));
	await process.ends();
	assert.equal(namesIn(folder), names.sort());
	for (const name of names) {
		const i = Number(/\d+/.exec(name)![0]);
		assert.ok(readFileSync(join(folder, name)).equals(content(i, BYTES)), name);
	}
});

test.run();

/** capture --from on the command line: an images directory, or a chain of them, through pipes into files. */
import { copyFileSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { Pagemap } from '../../src/images/pagemap.js';
import { unpack } from '../support/chains.js';
import { pipe } from '../support/pipe.js';
import { Streamer, startPipeline } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';

const test = suite('capture --from');

/** Runs `capture --from` of `images` into an extract; returns the directory with the files. */
async function extracted(images: string, shards?: number): Promise<string> {
	const imagesDir = join(temporaryDirectory(), 'out');
	const { capture, extract } = startPipeline({
		...(shards && { shards }),
		capture: { args: ['--from', images] },
		extract: { imagesDir },
	});
	assert.is(await capture.process.end, 'exit code 0', capture.process.stderr);
	assert.is(await extract.process.end, 'exit code 0', extract.process.stderr);
	return imagesDir;
}

test('a dump without a parent, byte for byte', async () => {
	const images = join(unpack('chain-disk-4.2.1'), '1');
	// A pre-dump, with what makes it a dump.
	const whole = join(unpack('chain-disk-4.2.1'), '3');
	const names = readdirSync(whole).filter((name) => !/^(pagemap|pages|mm|parent)/.test(name));
	for (const name of names) copyFileSync(join(whole, name), join(images, name));
	const out = await extracted(images, 3);
	assert.equal(readdirSync(out).sort(), readdirSync(images).sort());
	for (const name of readdirSync(out))
		assert.ok(readFileSync(join(out, name)).equals(readFileSync(join(images, name))), name);
});

test('a chain: an image without a parent', async () => {
	const chain = unpack('chain-disk-4.2.1');
	const out = await extracted(join(chain, '3'));
	const names = readdirSync(join(chain, '3')).filter((name) => name !== 'parent');
	assert.equal(readdirSync(out).sort(), names.sort());
	for (const name of names.filter((each) => each.startsWith('pagemap-'))) {
		const pagemap = new Pagemap(readFileSync(join(out, name)), name);
		assert.not(
			pagemap.runs.some(({ flags }) => flags & 1),
			name,
		);
		assert.is(readFileSync(join(out, pagemap.pagesName)).length, pagemap.pagesBytes, name);
	}
});

test('a broken chain: nothing is sent', async () => {
	const chain = unpack('chain-disk-4.2.1');
	rmSync(join(chain, '1'), { recursive: true });
	const { readEnd, writeEnd } = pipe();
	const process = new Streamer(['capture', '--from', join(chain, '3')], { stdout: writeEnd });
	assert.is(await process.end, 'exit code 1');
	assert.match(
		process.stderr,
		/the chain of dumps is broken: \S*pagemap-159\.img in \S+\/2, one dump before/,
	);
	assert.is((await readEnd.all()).length, 0);
});

test('options of a dump by CRIU are refused', async () => {
	const process = new Streamer(['capture', '--from', '.', '--zero-copy', 'never']);
	assert.is(await process.end, 'exit code 2');
	assert.match(process.stderr, /--zero-copy is for a dump by CRIU/);
});

test.run();

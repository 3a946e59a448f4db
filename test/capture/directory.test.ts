/** An images directory on the disk becomes a stream, from which every store makes the same image again. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { ListeningSocket } from '../../src/criu/socket.js';
import { DirectoryStore } from '../../src/stores/directory.js';
import { HeldStore } from '../../src/stores/held.js';
import { NullStore } from '../../src/stores/null.js';
import { field, image, PAGEMAP_MAGIC } from '../images/build.js';
import { afterwards } from '../support/cleanup.js';
import { content } from '../support/content.js';
import { contentOf } from '../support/stored.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { sendInto } from './send-into.js';

const test = suite('an images directory as source');

const files: Record<string, Buffer> = {
	'core-1.img': content(1, 900),
	'empty.img': Buffer.alloc(0),
	'inventory.img': content(2, 30),
	'pages-1.img': content(3, 3_000_001),
	'pagemap-1.img': image(PAGEMAP_MAGIC, field(1, 1)),
	'pstree.img': content(4, 65_536),
};

function imagesDirectory(): string {
	const path = temporaryDirectory();
	for (const [name, bytes] of Object.entries(files)) writeFileSync(join(path, name), bytes);
	return path;
}

const log = { info() {} };

test('into memory', async () => {
	const store = new HeldStore({ keep: false, memoryLimit: undefined, spool: undefined, log });
	await sendInto(store, imagesDirectory());
	for (const [name, bytes] of Object.entries(files)) {
		const file = store.image.file(name);
		assert.is(file?.size, bytes.length, name);
		assert.ok((await contentOf(file!)).equals(bytes), name);
	}
	assert.is([...store.image.files].at(-1)?.name, 'inventory.img');
});

test('into a directory', async () => {
	const target = temporaryDirectory();
	const store = new DirectoryStore(target, false);
	await sendInto(store, imagesDirectory());
	await store.finish();
	assert.equal(readdirSync(target).sort(), Object.keys(files).sort());
	for (const [name, bytes] of Object.entries(files))
		assert.ok(readFileSync(join(target, name)).equals(bytes), name);
});

test('into nothing: names and sizes are known', async () => {
	const store = new NullStore();
	await sendInto(store, imagesDirectory());
	const sizes = [...store.image.files].map(({ name, size }) => [name, size]).sort();
	assert.equal(
		sizes,
		Object.entries(files)
			.map(([name, { length }]) => [name, length])
			.sort(),
	);
});

test('what is no image file is left out', async () => {
	const path = imagesDirectory();
	for (const name of ['dump.log', 'stats-dump', 'irmap-cache']) writeFileSync(join(path, name), name);
	mkdirSync(join(path, 'work'));
	symlinkSync('core-1.img', join(path, 'link.img'));
	const socket = ListeningSocket.at(join(path, 'streamer-capture.sock'), 1);
	afterwards(() => socket.close());
	execFileSync('mkfifo', [join(path, 'fifo.img')]);
	const store = new NullStore();
	await sendInto(store, path);
	assert.is([...store.image.files].length, Object.keys(files).length);
});

/** An images directory that lacks the file `name`. */
function without(name: string): string {
	const path = imagesDirectory();
	rmSync(join(path, name));
	return path;
}

const refused: Record<string, [make: () => string, message: RegExp]> = {
	'a directory that is not there': [() => '/nonexistent', /cannot read the images directory \/nonexistent/],
	'a directory without inventory.img': [
		() => temporaryDirectory(),
		/is not a complete image: it has no inventory\.img/,
	],
	'an empty inventory.img': [
		() => {
			const path = imagesDirectory();
			writeFileSync(join(path, 'inventory.img'), '');
			return path;
		},
		/its inventory\.img, which CRIU writes last, is empty/,
	],
	'a pre-dump': [
		() => without('pstree.img'),
		/it has no pstree\.img; a pre-dump has none: give the directory of the dump after it/,
	],
	'memory that went to a page server': [
		() => {
			const path = without('pagemap-1.img');
			writeFileSync(join(path, 'mm-1.img'), '');
			return path;
		},
		/it has mm-1\.img without pagemap-1\.img; where the dump sent its pages to a page server/,
	],
	'corrections of a stream': [
		() => {
			const path = imagesDirectory();
			writeFileSync(join(path, 'streamer-corrections.img'), '');
			return path;
		},
		/streamer-corrections\.img, which belongs to a stream/,
	],
};
for (const [what, [make, message]] of Object.entries(refused))
	test(`refused: ${what}`, async () => {
		const store = new NullStore();
		try {
			await sendInto(store, make());
			assert.unreachable('it was sent');
		} catch (error) {
			assert.match((error as Error).message, message);
		}
	});

test.run();

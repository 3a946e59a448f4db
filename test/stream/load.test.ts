/**
 * How the payload of a stream gets into a store: read with its marker, or moved, depending on the bytes received by then.
 */
import { openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { bytesWaiting } from '../../src/libc/pipes.js';
import { DirectoryStore } from '../../src/stores/directory.js';
import { withExtFiles } from '../../src/stores/ext.js';
import { HeldStore } from '../../src/stores/held.js';
import { LargeFile } from '../../src/stores/large-file.js';
import { withCorrections } from '../../src/stream/corrected-store.js';
import { CORRECTIONS } from '../../src/stream/corrections.js';
import { load } from '../../src/stream/load.js';
import type { Store } from '../../src/stream/store.js';
import { afterwards } from '../support/cleanup.js';
import { content } from '../support/content.js';
import { failureOf } from '../support/failure.js';
import { data, file, fileEnd, imageEnd, streamOf, whole } from '../support/markers.js';
import { pipe } from '../support/pipe.js';
import { contentOf } from '../support/stored.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';

const test = suite('payload after its marker');

/** Sizes around those from which payload is moved, and from which a file is large. */
const sizes = [1, 16_383, 16_384, 60_000, 65_536, 65_537, 300_000];

/** Loads a file of `bytes`, whose payload is sent only when the marker before it was read. */
async function loadLate(bytes: number, store: HeldStore | DirectoryStore): Promise<Buffer> {
	const { readEnd, writeEnd } = pipe();
	const bodyOf = content(bytes, bytes);
	const shard = { fd: readEnd.fd, name: 'the shard', stallMillis: 0 };
	const loading = load([shard], store, new AbortController());
	const failed = loading.catch((error) => error);
	const stream = streamOf(file('late.img'), data(bodyOf), fileEnd(), imageEnd());
	const payloadAt = stream.indexOf(bodyOf);
	await writeEnd.write(stream.subarray(0, payloadAt));
	await until('the marker to be read', () => bytesWaiting(readEnd.fd) === 0);
	await writeEnd.end(stream.subarray(payloadAt));
	await loading;
	await failed;
	return bodyOf;
}

for (const bytes of sizes) {
	test(`${bytes} bytes, held`, async () => {
		const log = { info() {} };
		const store = new HeldStore({ keep: false, memoryLimit: undefined, spool: undefined, log });
		try {
			const expected = await loadLate(bytes, store);
			const file = store.image.file('late.img')!;
			assert.is(file instanceof LargeFile, bytes > 65_536);
			assert.ok((await contentOf(file)).equals(expected));
		} finally {
			store.close();
		}
	});

	test(`${bytes} bytes, into a directory`, async () => {
		const directory = temporaryDirectory();
		const store = new DirectoryStore(directory, false);
		try {
			const expected = await loadLate(bytes, store);
			await store.finish();
			assert.ok(readFileSync(join(directory, 'late.img')).equals(expected));
		} finally {
			store.close();
		}
	});
}

const ways: [what: string, name: string, (store: Store) => Store][] = [
	['held', 'a.img', (store) => store],
	['of corrections', CORRECTIONS, (store) => withCorrections(store).store],
	['that goes to a descriptor', 'a.img', (store) => toNull(store, 'a.img')],
];
for (const [what, name, through] of ways) {
	test(`refuses a file ${what} that continues after its end`, async () => {
		const log = { info() {} };
		const held = new HeldStore({ keep: false, memoryLimit: undefined, spool: undefined, log });
		afterwards(() => held.close());
		const { readEnd, writeEnd } = pipe();
		const shard = { fd: readEnd.fd, name: 'the shard', stallMillis: 0 };
		await writeEnd.end(streamOf(...whole(name, ''), ...whole('b.img', 'b'), file(name), data('more')));
		const error = await failureOf(load([shard], through(held), new AbortController()));
		assert.match(error.message, `file "${name}" has data after its end`);
	});
}

/** `store`, but the file `name` goes to /dev/null. */
function toNull(store: Store, name: string): Store {
	const fd = openSync('/dev/null', 'w');
	return withExtFiles(store, [{ name, fd }], new AbortController().signal).store;
}

test('names of the maximum length of a file system, over existing files', async () => {
	const directory = temporaryDirectory();
	const names = ['x'.repeat(255), `${'x'.repeat(254)}y`, 'é'.repeat(127)];
	for (const round of [1, 2]) {
		const store = new DirectoryStore(directory, true);
		try {
			for (const name of names) {
				const writer = store.create(name);
				writer.expect(100);
				writer.append(content(round, 100));
				writer.end();
			}
			await store.finish();
		} finally {
			store.close();
		}
		assert.equal(readdirSync(directory).sort(), [...names].sort());
		for (const name of names) assert.ok(readFileSync(join(directory, name)).equals(content(round, 100)));
	}
});

test.run();

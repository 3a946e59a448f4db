/** The same table of cases over each store: the content that is read equals what was written, in every manner. */
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import * as assert from 'uvu/assert';
import type { StreamError } from '../../src/runtime/stream-error.js';
import { content } from '../support/content.js';
import { openDescriptors } from '../support/descriptors.js';
import { failureOf } from '../support/failure.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';
import { give, held, kinds, type Manner } from './kinds.js';

/** Sizes around a page, a small file, a parked pipe, and several parked pipes. */
const sizes = [
	0,
	1,
	4095,
	4096,
	4097,
	65_535,
	65_536,
	65_537,
	(1 << 20) - 1,
	1 << 20,
	(1 << 20) + 1,
	5 << 20,
];
const MB = 1 << 20;
const manners: Record<string, Manner> = {
	'from memory': [['append', 65_536]],
	'from memory, in small pieces': [['append', 1000]],
	'by reference': [['move', MB]],
	'by reference, in odd pieces': [['move', 70_001]],
	'first from memory, then by reference': [
		['append', 65_537],
		['move', 50_000_000],
	],
	'by turns': [
		['append', 100],
		['move', 300_000],
		['append', 5000],
		['move', 16_384],
	],
};

for (const [kind, make] of Object.entries(kinds)) {
	const test = suite(kind);
	for (const [how, manner] of Object.entries(manners)) {
		test(how, async () => {
			const filled = make();
			for (const bytes of sizes)
				await give(filled.store.create(`${bytes}.img`), content(bytes, bytes), manner);
			await filled.complete();
			for (const bytes of sizes) {
				const got = await filled.read(`${bytes}.img`);
				assert.ok(got?.equals(content(bytes, bytes)), `${bytes} bytes became ${got?.length} different ones`);
			}
		});
	}

	test('several files at once', async () => {
		const filled = make();
		const writers = [0, 1, 2].map((i) => filled.store.create(`${i}.img`));
		const piece = (i: number, turn: number) => content(10 * i + turn, 200_000 + i);
		for (let turn = 0; turn < 8; turn++) {
			for (const [i, writer] of writers.entries()) {
				writer.expect(piece(i, turn).length);
				await writer.append(piece(i, turn));
			}
		}
		for (const writer of writers) writer.end();
		await filled.complete();
		for (const i of [2, 0, 1]) {
			const expected = Buffer.concat([0, 1, 2, 3, 4, 5, 6, 7].map((turn) => piece(i, turn)));
			assert.ok((await filled.read(`${i}.img`))?.equals(expected), `${i}.img`);
		}
	});
	test.run();
}

const LARGE = content(1, 5 << 20);
const byReference: Manner = [['move', 300_000]];
const twoClients = 2;

const test = suite('what CRIU may do with a file');

for (const keep of [false, true]) {
	for (const spool of [false, true]) {
		const where = `${keep ? ', kept' : ''}${spool ? ', on a disk' : ''}`;
		const make = (clients = 1) =>
			held({ keep, ...(spool && { memoryLimit: 0, spool: temporaryDirectory() }) }, clients);

		test(`close it early, or unread${where}`, async () => {
			const before = openDescriptors();
			const filled = make();
			for (const name of ['a', 'b', 'c']) await give(filled.store.create(name), LARGE, byReference);
			await filled.complete();
			const [criu] = filled.criu;
			(await criu!.open('a'))!.close();
			const b = (await criu!.open('b'))!;
			assert.ok((await b.exactly(2_000_000)).equals(LARGE.subarray(0, 2_000_000)));
			b.close();
			assert.ok((await criu!.read('c'))?.equals(LARGE));
			criu!.close();
			await filled.served;
			filled.store.close();
			if (!keep) await until('its parts to be released', () => openDescriptors() <= before + 1);
		});

		test(`request a small file twice${where}`, async () => {
			const filled = make();
			await give(filled.store.create('small'), LARGE.subarray(0, 60_000), [['append', 60_000]]);
			await filled.complete();
			for (let i = 0; i < 3; i++) assert.ok((await filled.read('small'))?.equals(LARGE.subarray(0, 60_000)));
		});

		if (keep) {
			test(`request a large file again${where}`, async () => {
				const filled = make();
				await give(filled.store.create('large'), LARGE, byReference);
				await filled.complete();
				for (let i = 0; i < 3; i++) assert.ok((await filled.read('large'))?.equals(LARGE));
			});

			test(`read it several times at once, over two connections${where}`, async () => {
				const filled = make(twoClients);
				await give(filled.store.create('large'), LARGE, byReference);
				await filled.complete();
				const ends = await Promise.all([0, 1, 0, 1].map((i) => filled.criu[i]!.open('large')));
				// In small pieces in turn, so that each is at another offset in the file.
				for (let at = 0, piece = 100_003; at < LARGE.length; at += piece) {
					for (const end of ends) {
						const wanted = LARGE.subarray(at, at + piece);
						assert.ok((await end!.exactly(wanted.length)).equals(wanted), `at ${at}`);
					}
				}
				for (const end of ends) assert.is((await end!.all()).length, 0);
			});
		} else {
			test(`request a large file again: an error that names it${where}`, async () => {
				const filled = make();
				await give(filled.store.create('large.img'), LARGE, byReference);
				await filled.complete();
				assert.ok((await filled.read('large.img'))?.equals(LARGE));
				await filled.criu[0]!.open('large.img').catch(() => {});
				const error = await failureOf<StreamError>(filled.served);
				assert.is(error.code, 'ASKED_TWICE');
				assert.match(error.message, /"large\.img" a second time/);
			});
		}
	}
}

test('space that was read is freed in the file system', async () => {
	const spool = temporaryDirectory();
	const filled = held({ memoryLimit: 0, spool });
	const parts = 6;
	const writer = filled.store.create('large');
	for (let i = 0; i < parts; i++) {
		writer.expect(LARGE.length);
		await writer.append(LARGE);
	}
	writer.end();
	const full = blocksOfUnnamed(spool);
	// The first part is in memory, which was below its limit.
	assert.ok(full >= ((parts - 1) * LARGE.length) / 512, `${full} blocks`);
	await filled.complete();
	const end = (await filled.criu[0]!.open('large'))!;
	await end.exactly((parts - 1) * LARGE.length);
	await until('most of it to be freed', () => blocksOfUnnamed(spool) <= full / 2);
	assert.ok((await end.all()).equals(LARGE));
});

/** Files of which several fit into a pipe, and one that takes several ranges, in one unnamed file. */
const sizesInOne = [100_000, 70_000, 2 << 20, 100_001, 300_000];

for (const [where, choice] of [
	['in a spool', () => ({ memoryLimit: 0, spool: temporaryDirectory() })],
	['in a spool, kept', () => ({ keep: true, memoryLimit: 0, spool: temporaryDirectory() })],
	['in memory', () => ({ keep: true })],
] as const) {
	test(`data in CRIU’s pipe stays unchanged while other files are served, ${where}`, async () => {
		const filled = held(choice());
		const bodies = sizesInOne.map((bytes, i) => content(i, bytes));
		for (const [i, body] of bodies.entries()) await give(filled.store.create(`${i}`), body, byReference);
		await filled.complete();
		const [criu] = filled.criu;
		const ends = [];
		for (const i of bodies.keys()) ends.push((await criu!.open(`${i}`))!);
		// The small files are completely sent by now, and the store has released them.
		assert.ok((await ends[2]!.all()).equals(bodies[2]!));
		for (const i of [4, 0, 1, 3]) assert.ok((await ends[i]!.all()).equals(bodies[i]!), `${i}`);
	});
}

test('small parts of a spool are freed as well', async () => {
	const spool = temporaryDirectory();
	const filled = held({ memoryLimit: 0, spool });
	const files = 40;
	const body = LARGE.subarray(0, 200_000);
	for (let i = 0; i < files; i++) await give(filled.store.create(`${i}`), body, [['append', 50_000]]);
	const full = blocksOfUnnamed(spool);
	assert.ok(full >= ((files - 2) * body.length) / 512, `${full} blocks`);
	await filled.complete();
	for (let i = 0; i < files; i++) assert.ok((await filled.read(`${i}`))?.equals(body));
	await until('nearly all of it to be freed', () => blocksOfUnnamed(spool) <= full / 10);
});

test.run();

/** The blocks of the unnamed files in `directory` that this process has open. */
function blocksOfUnnamed(directory: string): number {
	let blocks = 0;
	for (const fd of readdirSync('/proc/self/fd')) {
		try {
			if (readlinkSync(`/proc/self/fd/${fd}`).startsWith(`${directory}/`))
				blocks += statSync(`/proc/self/fd/${fd}`).blocks;
		} catch {
			// The descriptor of the listing has been closed.
		}
	}
	return blocks;
}

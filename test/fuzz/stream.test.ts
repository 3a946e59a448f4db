/** Whole streams, valid and invalid, into every store and through the built command: accepted only if they are valid. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { fail, unlessAborted } from '../../src/runtime/cancellation.js';
import { DirectoryStore } from '../../src/stores/directory.js';
import { HeldStore } from '../../src/stores/held.js';
import { load } from '../../src/stream/load.js';
import { descriptorsAtFirst, openDescriptors } from '../support/descriptors.js';
import { pipe } from '../support/pipe.js';
import { namesIn, StandInRestore } from '../support/stand-in.js';
import { contentOf } from '../support/stored.js';
import { startExtract } from '../support/streamer.js';
import { full, suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';
import {
	corpus,
	damagedStream,
	isRefusal,
	meaningOf,
	type Placed,
	placedSteps,
	remember,
	runs,
	shardsOf,
} from './inputs.js';

const test = suite('streams');
const LONG = { seconds: 20_000 };
/** Maximum growth of memory by the tests themselves and by garbage. */
const MAX_GROWTH = 300 << 20;

type Image = Map<string, Buffer>;

/** Loads the shards; undefined where they were refused. Rejects where the error was not a refusal. */
async function loaded(shards: Buffer[], store: HeldStore | DirectoryStore): Promise<true | undefined> {
	const ends = shards.map((bytes) => {
		const { readEnd, writeEnd } = pipe();
		writeEnd.end(bytes).catch(() => writeEnd.close());
		return readEnd;
	});
	const controller = new AbortController();
	const inputs = ends.map(({ fd }, i) => ({ fd, name: `shard ${i}`, stallMillis: 0 }));
	try {
		await unlessAborted(controller.signal, load(inputs, store, controller));
		return true;
	} catch (error) {
		fail(controller, error);
		isRefusal(error);
		return undefined;
	} finally {
		for (const end of ends) end.close();
	}
}

function newHeld(): HeldStore {
	const log = { info() {} };
	return new HeldStore({ keep: false, memoryLimit: undefined, spool: undefined, log });
}

/** The held image, or undefined where the stream was refused. */
async function held(shards: Buffer[]): Promise<Image | undefined> {
	const store = newHeld();
	try {
		if (!(await loaded(shards, store))) return undefined;
		const image: Image = new Map();
		for (const file of store.image.files) image.set(file.name, await contentOf(file));
		return image;
	} finally {
		store.close();
	}
}

/** The written image, likewise; no other files are written, and none after a refusal. */
async function extracted(shards: Buffer[]): Promise<Image | undefined> {
	const around = temporaryDirectory();
	const directory = join(around, 'images');
	const store = new DirectoryStore(directory, false);
	try {
		const whole = await loaded(shards, store);
		if (whole) await store.finish();
		store.close();
		assert.equal(readdirSync(around), ['images']);
		const names = namesIn(directory);
		if (!whole) assert.equal(names, []);
		return whole && new Map(names.map((name) => [name, readFileSync(join(directory, name))]));
	} finally {
		store.close();
	}
}

function checkImage(image: Image | undefined, placed: Placed[]): void {
	const meant = meaningOf(placed);
	assert.is(image !== undefined, meant !== undefined, meant ? 'a valid stream' : 'an invalid stream');
	if (!image || !meant) return;
	assert.equal([...image.keys()].sort(), [...meant.keys()].sort());
	for (const [name, bytes] of meant) assert.ok(image.get(name)?.equals(bytes), name);
}

async function leakFree(work: () => Promise<void>): Promise<void> {
	const before = await descriptorsAtFirst();
	const resident = process.memoryUsage.rss();
	await work();
	await until('every descriptor to be closed', () => openDescriptors() <= before);
	assert.ok(process.memoryUsage.rss() - resident < MAX_GROWTH, 'memory');
}

for (const [where, image, count] of [
	['held', held, 3000],
	['into a directory', extracted, 1000],
] as const) {
	test(
		`by the rules, or against one: ${where}`,
		() =>
			leakFree(() =>
				fc.assert(
					fc.asyncProperty(placedSteps, async (some) => checkImage(await image(shardsOf(some)), some.placed)),
					runs(count),
				),
			),
		LONG,
	);

	test(
		`damaged: ${where}`,
		() =>
			leakFree(() =>
				fc.assert(
					fc.asyncProperty(damagedStream, async (bytes) => {
						await remember('stream', bytes, () => image([bytes]));
					}),
					runs(count),
				),
			),
		LONG,
	);

	test(`found before: ${where}`, async () => {
		for (const { bytes } of corpus('stream')) await image([bytes]);
	});
}

/** A process takes long to start, so three inputs go through one each at a time. */
const together = fc.array(placedSteps, { minLength: 3, maxLength: 3 });
/** Of such; they are for what only the whole command can do wrong. */
const THROUGH_COMMAND = full ? 7 : 25;

type Placement = { placed: Placed[]; shards: number };

/** An extract whose shards carry `some`. */
async function started(some: Placement, options: Parameters<typeof startExtract>[0]) {
	const { process, shards } = startExtract({ ...options, shards: some.shards });
	const streams = shardsOf(some);
	await Promise.all(shards.map((shard, i) => shard.end(streams[i]!).catch(() => shard.close())));
	return process;
}

async function intoFolder(some: Placement): Promise<void> {
	const around = temporaryDirectory();
	const [work, imagesDir] = [join(around, 'work'), join(around, 'images')];
	mkdirSync(work);
	const process = await started(some, { work, cwd: work, imagesDir });
	const meant = meaningOf(some.placed);
	await endsWithMessage(process, meant !== undefined);
	assert.equal(namesIn(around), ['images', 'work']);
	assert.equal(namesIn(work), []);
	const names = namesIn(imagesDir);
	if (meant) {
		checkImage(new Map(names.map((name) => [name, readFileSync(join(imagesDir, name))])), some.placed);
	} else assert.equal(names, []);
}

async function toCriu(some: Placement): Promise<void> {
	const work = temporaryDirectory();
	const process = await started(some, { work });
	const meant = meaningOf(some.placed);
	if (meant) {
		const restore = await StandInRestore.connect(work);
		for (const [name, bytes] of meant)
			assert.ok((await restore.read(name))?.equals(bytes), `${JSON.stringify(name)} of ${bytes.length}`);
		// A CRIU that requests nothing has failed.
		assert.is(await restore.read('absent'), undefined);
		restore.close();
	}
	await endsWithMessage(process, meant !== undefined);
	assert.not.ok(existsSync(join(work, 'streamer-serve.sock')));
	assert.equal(namesIn(work), []);
}

for (const [where, check] of [
	['into a directory', intoFolder],
	['to CRIU', toCriu],
] as const) {
	test(
		`through the command, ${where}`,
		() =>
			fc.assert(
				fc.asyncProperty(together, async (all) => {
					// An error must not end the test while another is under way.
					const ends = await Promise.allSettled(all.map(check));
					for (const end of ends) if (end.status === 'rejected') throw end.reason;
				}),
				runs(THROUGH_COMMAND),
			),
		LONG,
	);
}

/** Expects exit code 0, or 1 with one line on stderr. */
async function endsWithMessage(
	process: ReturnType<typeof startExtract>['process'],
	well: boolean,
): Promise<void> {
	const stderr = await process.ends(well ? 0 : 1);
	const lines = stderr.split('\n').filter((line) => line && !/^\{|^socket-init/.test(line));
	if (well) assert.equal(lines, []);
	else {
		assert.is(lines.length, 1, stderr);
		assert.match(lines[0]!, /^criu-image-streamer: \S/);
	}
}

test.run();

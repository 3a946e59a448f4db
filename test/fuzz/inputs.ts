/**
 * Inputs for the decoders, made by fast-check: mostly valid, so that they get far, and wrong in a few places. A run in CI
 * always has the same inputs; a full run has new ones, and far more.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { StreamError } from '../../src/runtime/stream-error.js';
import { data, file, fileEnd, imageEnd, type Part, prefixed, streamOf, unknown } from '../support/markers.js';
import { full } from '../support/suite.js';

const CORPUS = fileURLToPath(new URL('corpus', import.meta.url));

/** `runs` in CI; in a full run a hundred times as many, with a new seed. */
export function runs(runs: number): { numRuns: number; seed: number } {
	return full ? { numRuns: runs * 100, seed: Date.now() % 2 ** 31 } : { numRuns: runs, seed: 1 };
}

const GOOD = ['a.img', 'pages-1.img', 'inventory.img', 'x'.repeat(255), 'ä😀.img', ' ', '-rf', '...', 'a\nb'];
const BAD = ['', '.', '..', '/', '/etc/passwd', '../a', 'a/b', 'a\0b', 'x'.repeat(256), '\u{d800}', '..\0'];
export const goodName = fc.constantFrom(...GOOD);
export const anyName = fc.oneof(
	{ weight: 6, arbitrary: goodName },
	{ weight: 2, arbitrary: fc.constantFrom(...BAD) },
	{ weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 300 }) },
);

/** Whether a file with this name may be created in a directory. */
export function isPlain(name: string): boolean {
	const bytes = Buffer.from(name);
	const isText = bytes.toString() === name && !name.includes('\ufffd');
	const isName = !/[/\0]/.test(name) && !['', '.', '..'].includes(name);
	return isText && isName && bytes.length <= 255;
}

/** The content of a marker, without its sequence number. */
export type Step =
	| { kind: 'file'; name: string }
	| { kind: 'data'; bytes: Buffer }
	| { kind: 'file-end' }
	| { kind: 'image-end' }
	| { kind: 'unknown' };

const payload = fc.oneof(
	{ weight: 8, arbitrary: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)) },
	{ weight: 1, arbitrary: fc.integer({ min: 0, max: 200_000 }).map((bytes) => Buffer.alloc(bytes, 7)) },
);
const step: fc.Arbitrary<Step> = fc.oneof(
	{ weight: 4, arbitrary: anyName.map((name) => ({ kind: 'file' as const, name })) },
	{ weight: 6, arbitrary: payload.map((bytes) => ({ kind: 'data' as const, bytes })) },
	{ weight: 4, arbitrary: fc.constant({ kind: 'file-end' as const }) },
	{ weight: 1, arbitrary: fc.constant({ kind: 'image-end' as const }) },
	{ weight: 1, arbitrary: fc.constant({ kind: 'unknown' as const }) },
);
/** A complete file. */
const wholeFile = fc
	.tuple(goodName, fc.array(payload, { maxLength: 3 }))
	.map(([name, parts]): Step[] => [
		{ kind: 'file', name },
		...parts.map((bytes): Step => ({ kind: 'data', bytes })),
		{ kind: 'file-end' },
	]);
const END: Step = { kind: 'image-end' };
const steps = fc.oneof(
	{ weight: 3, arbitrary: fc.array(wholeFile, { maxLength: 4 }).map((files) => [...files.flat(), END]) },
	{ weight: 2, arbitrary: fc.array(step, { maxLength: 12 }).map((some) => [...some, END]) },
	{ weight: 1, arbitrary: fc.array(step, { maxLength: 12 }) },
);

export function partOf(step: Step): Part {
	switch (step.kind) {
		case 'file':
			return file(step.name);
		case 'data':
			return data(step.bytes);
		case 'file-end':
			return fileEnd();
		case 'image-end':
			return imageEnd();
		case 'unknown':
			return unknown();
	}
}

/** A step with its sequence number, on one of the shards. */
export interface Placed {
	step: Step;
	seq: number;
	shard: number;
}

/** Steps in order, most of them numbered and placed correctly. */
export const placedSteps = fc
	.tuple(
		steps,
		fc.integer({ min: 1, max: 3 }),
		fc.infiniteStream(fc.integer({ min: 0, max: 2 })),
		fc.option(fc.tuple(fc.nat(20), fc.constantFrom(-3, -1, 1, 1000, 2 ** 53)), { freq: 4 }),
	)
	.map(([all, shards, places, shift]): { placed: Placed[]; shards: number } => {
		const [from, by] = shift ?? [all.length, 0];
		const placed = all.map((step, i) => ({
			step,
			seq: Math.max(0, i >= from ? i + by : i),
			shard: (places.next().value as number) % shards,
		}));
		return { placed, shards };
	});

/** The bytes of every shard. */
export function shardsOf({ placed, shards }: { placed: Placed[]; shards: number }): Buffer[] {
	return Array.from({ length: shards }, (_, shard) =>
		streamOf(
			...placed.filter((one) => one.shard === shard).map(({ step, seq }): Part => ({ ...partOf(step), seq })),
		),
	);
}

/** The image that `placed` describes, or undefined where a rule is broken: an independent implementation of the rules. */
export function meaningOf(placed: Placed[]): Map<string, Buffer> | undefined {
	const files = new Map<string, { parts: Buffer[]; ended: boolean }>();
	let current: string | undefined;
	for (const [i, { step, seq }] of placed.entries()) {
		const isLast = i === placed.length - 1;
		if (seq !== i || (step.kind === 'image-end') !== isLast) return undefined;
		const now = current === undefined ? undefined : files.get(current);
		if (step.kind === 'unknown') return undefined;
		if (step.kind === 'file') {
			if (!isPlain(step.name) || files.get(step.name)?.ended) return undefined;
			if (!files.has(step.name)) files.set(step.name, { parts: [], ended: false });
			current = step.name;
		} else if (step.kind === 'image-end') {
			if ([...files.values()].some(({ ended }) => !ended)) return undefined;
		} else if (!now) return undefined;
		else if (step.kind === 'data') now.parts.push(step.bytes);
		else {
			now.ended = true;
			current = undefined;
		}
	}
	if (!placed.length) return undefined;
	return new Map([...files].map(([name, { parts }]) => [name, Buffer.concat(parts)]));
}

/** A stream with some bytes changed, cut out, doubled or inserted. */
export const damaged = (whole: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> =>
	fc
		.tuple(
			whole,
			fc.array(
				fc.tuple(fc.constantFrom('set', 'cut', 'double', 'insert'), fc.nat(), fc.nat(255), fc.nat(9)),
				{
					maxLength: 4,
				},
			),
		)
		.map(([bytes, changes]) => {
			let result = bytes;
			for (const [how, where, value, length] of changes) {
				const at = result.length ? where % result.length : 0;
				const before = result.subarray(0, at);
				const some = result.subarray(at, at + length);
				if (how === 'set') result = Buffer.concat([before, Buffer.of(value), result.subarray(at + 1)]);
				else if (how === 'cut') result = Buffer.concat([before, result.subarray(at + length)]);
				else if (how === 'double') result = Buffer.concat([before, some, result.subarray(at)]);
				else result = Buffer.concat([before, Buffer.alloc(length, value), result.subarray(at)]);
			}
			return result;
		});

/** A damaged shard, or random bytes. */
export const damagedStream = fc.oneof(
	{ weight: 4, arbitrary: damaged(placedSteps.map((some) => Buffer.concat(shardsOf(some)))) },
	{ weight: 1, arbitrary: fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)) },
);

/** A protobuf message, valid or not, without its length. */
export const anyMessage = damaged(
	fc.oneof(
		step.map((one) => partOf(one).body!),
		fc.tuple(fc.maxSafeNat(), step).map(([seq, one]) => streamOf({ ...partOf(one), seq }).subarray(4)),
		anyName.map((name) => partOf({ kind: 'file', name }).body!),
		fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
	),
);

/** Lengths before messages, valid or not. */
export const anyFrame = fc.oneof(
	{ weight: 5, arbitrary: anyMessage.map(prefixed) },
	{ weight: 1, arbitrary: anyMessage },
);

/**
 * Inputs that failed once (or could have), in corpus/ as `WHAT-….hex`. A fuzzer that finds another stores it there with
 * {@link remember}: commit it together with the fix.
 */
export function corpus(what: string): { name: string; bytes: Buffer }[] {
	return readdirSync(CORPUS)
		.filter((name) => name.startsWith(`${what}-`))
		.map((name) => ({
			name,
			bytes: Buffer.from(readFileSync(join(CORPUS, name), 'utf8').replace(/#.*|\s/g, ''), 'hex'),
		}));
}

/** Runs `check`, and keeps `bytes` if it throws. */
export async function remember<T>(what: string, bytes: Buffer, check: () => T | Promise<T>): Promise<T> {
	try {
		return await check();
	} catch (error) {
		const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 12);
		// The smallest input found by shrinking is written last, beside the larger ones.
		writeFileSync(
			join(CORPUS, `${what}-${hash}.hex`),
			`${bytes.toString('hex').replace(/.{64}/g, '$&\n')}\n`,
		);
		throw error;
	}
}

/** Throws unless `error` is a refusal with a message for people, and not a crash. */
export function isRefusal(error: unknown): void {
	if (
		!(error instanceof Error) ||
		(error.constructor !== Error && error.constructor !== StreamError) ||
		/undefined|\[object|NaN/.test(error.message)
	)
		throw new Error(`a crash, not a refusal: ${error instanceof Error ? error.stack : error}`);
}

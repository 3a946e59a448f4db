/**
 * A chain of incremental dumps becomes the image that it stands for: for chains of real CRIUs, whose processes' memory is known, and
 * for random ones against a model of a memory.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { ImagesDirectory } from '../../src/capture/directory.js';
import { Pagemap } from '../../src/images/pagemap.js';
import { HeldStore } from '../../src/stores/held.js';
import { field, image, PAGEMAP_MAGIC } from '../images/build.js';
import { expectedOf, PAGE, pagesOf, unpack } from '../support/chains.js';
import { contentOf } from '../support/stored.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { sendInto } from './send-into.js';

const test = suite('a chain of dumps');
const PARENT = 1;
const PRESENT = 4;

/** The flattened memory of the pagemap `name`. */
async function memoryOf(store: HeldStore, name: string): Promise<Map<number, Buffer>> {
	const pagemap = await contentOf(store.image.file(name)!);
	const { pagesName } = new Pagemap(pagemap, name);
	return pagesOf(pagemap, await contentOf(store.image.file(pagesName)!));
}

async function flattened(path: string, allowIncomplete = false): Promise<HeldStore> {
	const log = { info() {} };
	const store = new HeldStore({ keep: true, memoryLimit: undefined, spool: undefined, log });
	await sendInto(store, path, allowIncomplete);
	return store;
}

const made = {
	'chain-disk-4.2.1': '3',
	'chain-pageserver-4.1.1': 'server/3',
	'chain-pageserver-4.2.1': 'server/3',
};
for (const [fixture, last] of Object.entries(made))
	test(`${fixture}: every page, and no other`, async () => {
		const path = unpack(fixture);
		// What a page server wrote lacks the small images.
		const store = await flattened(join(path, last), last.startsWith('server'));
		for (const [name, expected] of expectedOf(path)) {
			const memory = await memoryOf(store, name);
			for (const { address, sha, content, zeros } of expected) {
				const page = memory.get(address);
				memory.delete(address);
				if (!page && zeros) continue;
				const where = `${name} at 0x${address.toString(16)}`;
				assert.ok(page, `${where} is missing`);
				if (content) assert.ok(page.equals(content), where);
				else assert.is(createHash('sha256').update(page).digest('hex').slice(0, 16), sha, where);
			}
			assert.equal([...memory.keys()].filter(isOfProgram), [], `${name} has pages that were unmapped`);
		}
	});

/** Where the program of the fixtures maps memory; its stack and libraries may have pages that were not listed. */
function isOfProgram(address: number): boolean {
	return address >= 0x100_0000_0000 && address < 0x600_0000_0000;
}

/** What happens to one page of a process between two dumps. */
type Step = { process: 0 | 1; page: number; what: 'write' | 'unmap' | 'zero' };

const BASE = 0x7f00_0000_0000;
const step: fc.Arbitrary<Step> = fc.record({
	process: fc.constantFrom(0, 1),
	page: fc.nat(20),
	what: fc.constantFrom('write', 'write', 'unmap', 'zero'),
});

/** Writes the dump of `memory` to `path`; pages outside `dirty` are left to the parent. */
function writeDump(
	path: string,
	memory: ReadonlyMap<number, number>[],
	dirty: ReadonlySet<number>[],
	counts64: boolean,
): void {
	mkdirSync(path);
	memory.forEach((pages, process) => {
		const numbers = [...pages.keys()].sort((a, b) => a - b);
		const entries = numbers.map((page) => {
			const flags = dirty[process]!.has(page) ? PRESENT : PARENT;
			const count = counts64 ? [field(2, 0), field(4, flags), field(5, 1)] : [field(2, 1), field(4, flags)];
			return Buffer.concat([field(1, BASE + page * PAGE), ...count]);
		});
		writeFileSync(
			join(path, `pagemap-${process}.img`),
			image(PAGEMAP_MAGIC, field(1, process + 7), ...entries),
		);
		const own = numbers.filter((page) => dirty[process]!.has(page));
		writeFileSync(
			join(path, `pages-${process + 7}.img`),
			Buffer.concat(own.map((page) => Buffer.alloc(PAGE, pages.get(page)! & 0xff))),
		);
	});
	writeFileSync(join(path, 'inventory.img'), 'inventory');
	writeFileSync(join(path, 'pstree.img'), 'pstree');
}

test('random chains', async () => {
	const generations = fc.array(fc.array(step, { maxLength: 25 }), { minLength: 1, maxLength: 6 });
	const property = fc.asyncProperty(generations, fc.boolean(), fc.nat(5), async (steps, counts64, forked) => {
		const directory = temporaryDirectory();
		const memory = [new Map<number, number>(), new Map<number, number>()];
		let writes = 0;
		steps.forEach((all, generation) => {
			const written = memory.map(() => new Set<number>());
			for (const { process, page, what } of all) {
				written[process]!.delete(page);
				memory[process]!.delete(page);
				if (what !== 'write') continue;
				memory[process]!.set(page, ++writes);
				written[process]!.add(page);
			}
			// The second process is there from some dump on, and so unknown to the dumps before.
			const first = [0, forked];
			const there = memory.filter((_, process) => generation >= first[process]!);
			const dirty = there.map((pages, process) =>
				generation === first[process] ? new Set(pages.keys()) : written[process]!,
			);
			const path = join(directory, String(generation));
			writeDump(path, there, dirty, counts64);
			if (generation) symlinkSync(`../${generation - 1}`, join(path, 'parent'));
		});
		const last = steps.length - 1;
		const store = await flattened(join(directory, String(last)));
		for (const process of last >= forked ? [0, 1] : [0]) {
			const found = await memoryOf(store, `pagemap-${process}.img`);
			assert.equal(
				[...found.keys()].sort(),
				[...memory[process]!.keys()].map((page) => BASE + page * PAGE).sort(),
			);
			for (const [page, value] of memory[process]!) {
				const expected = Buffer.alloc(PAGE, value & 0xff);
				assert.ok(found.get(BASE + page * PAGE)!.equals(expected), `page ${page} of process ${process}`);
			}
		}
		rmSync(directory, { recursive: true });
		store.close();
	});
	await fc.assert(property, { numRuns: 60 });
});

/** Three dumps of one process with pages 0 and 1; the last has written page 0, and leaves page 1 to the first. */
function threeDumps(): string {
	const directory = temporaryDirectory();
	const memory = [
		new Map([
			[0, 1],
			[1, 2],
		]),
	];
	['1', '2', '3'].forEach((name, i) => {
		writeDump(join(directory, name), memory, [new Set(i === 0 ? [0, 1] : [0])], true);
		if (i) symlinkSync(`../${i}`, join(directory, name, 'parent'));
	});
	return directory;
}

const broken: Record<string, [change: (directory: string) => void, message: RegExp]> = {
	'no parent': [
		(directory) => rmSync(join(directory, '3/parent')),
		/pagemap-0\.img in \S+\/3, leaves the page at 0x7f0000001000 to the dump before, and \S+\/3\/parent: no such file/,
	],
	'a parent that is gone': [
		(directory) => rmSync(join(directory, '1'), { recursive: true }),
		/in \S+\/2, one dump before the last, leaves the page at 0x7f0000001000 to the dump before, and \S+\/2\/parent: no such/,
	],
	'a parent without the process': [
		(directory) => rmSync(join(directory, '1/pagemap-0.img')),
		/and \S+\/1 has no pagemap-0\.img/,
	],
	'a parent without the page': [
		(directory) => {
			rmSync(join(directory, '1'), { recursive: true });
			writeDump(join(directory, '1'), [new Map([[0, 1]])], [new Set([0])], true);
		},
		/and \S+\/1 does not have it/,
	],
	'a pages image that is too short': [
		(directory) => truncateSync(join(directory, '1/pages-7.img'), PAGE),
		/1\/pages-7\.img has 4096 bytes, and \S+\/1\/pagemap-0\.img says that it has 8192: the dump is damaged/,
	],
	'a circle': [
		(directory) => symlinkSync('../3', join(directory, '1/parent')),
		/the links named parent from .* lead in a circle/,
	],
	'compressed pages': [
		(directory) => {
			const entry = [field(1, BASE), field(2, 0), field(4, PRESENT), field(5, 2), field(6, Buffer.of(8, 1))];
			const content = image(PAGEMAP_MAGIC, field(1, 7), Buffer.concat(entry));
			writeFileSync(join(directory, '1/pagemap-0.img'), content);
		},
		/1\/pagemap-0\.img has compressed pages/,
	],
};
for (const [what, [change, message]] of Object.entries(broken))
	test(`refused before anything is sent: ${what}`, async () => {
		const directory = threeDumps();
		change(directory);
		try {
			await ImagesDirectory.open(join(directory, '3'), false);
			assert.unreachable('it was opened');
		} catch (error) {
			assert.match((error as Error).message, message);
		}
	});

test('a pre-dump that is broken where nothing needs it is no error', async () => {
	const directory = threeDumps();
	writeDump(
		join(directory, '4'),
		[
			new Map([
				[0, 9],
				[1, 8],
			]),
		],
		[new Set([0, 1])],
		true,
	);
	symlinkSync('../nowhere', join(directory, '4/parent'));
	const store = await flattened(join(directory, '4'));
	assert.is((await memoryOf(store, 'pagemap-0.img')).size, 2);
});

test('fields of an entry that are not known here stay as they are', async () => {
	const directory = threeDumps();
	const entry = Buffer.concat([field(1, BASE), field(2, 0), field(4, PRESENT), field(5, 2), field(99, 5)]);
	rmSync(join(directory, '2/pagemap-0.img'));
	writeFileSync(join(directory, '1/pagemap-0.img'), image(PAGEMAP_MAGIC, field(1, 7), entry));
	// Both pages are left to the first dump, by way of the second.
	for (const name of ['2', '3']) {
		rmSync(join(directory, name), { recursive: true });
		writeDump(
			join(directory, name),
			[
				new Map([
					[0, 1],
					[1, 2],
				]),
			],
			[new Set()],
			true,
		);
		symlinkSync(`../${Number(name) - 1}`, join(directory, name, 'parent'));
	}
	const whole = image(
		PAGEMAP_MAGIC,
		field(1, 7),
		Buffer.concat([field(1, BASE), field(2, 0), field(4, PARENT), field(5, 2)]),
	);
	writeFileSync(join(directory, '2/pagemap-0.img'), whole);
	writeFileSync(join(directory, '3/pagemap-0.img'), whole);
	const store = await flattened(join(directory, '3'));
	const pagemap = await contentOf(store.image.file('pagemap-0.img')!);
	assert.ok(pagemap.includes(field(99, 5)));
});

test.run();

/**
 * When the threads of a dumped application die, the kernel changes words in pages that may still be in transit. Whatever
 * reads the stream, the application is restored with the original words: it checks them itself, and the pages are compared
 * with its memory while it was frozen.
 */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { Pagemap } from '../../src/images/pagemap.js';
import type { Application } from '../real/application.js';
import { criuOrSkip, program } from '../real/programs.js';
import { type Command, Scene } from '../real/scene.js';
import { freePort } from '../support/free-port.js';
import { StandInRestore } from '../support/stand-in.js';
import { HOOK } from '../support/streamer.js';
import { full, suite } from '../support/suite.js';
import { need } from '../support/tools.js';

const test = suite('dying threads', { together: 2 });
const SCRIPT = ['--action-script', HOOK];
const TIMES = full ? 20 : 1;
const LONG = { seconds: 600 };
const THREADS = 16;
const PROCESSES = 3;

const capture = 'criu-image-streamer -W src -v3';
/** The readers of a capture's stream: each ends in an extract that serves in dst/. */
const readers: Record<string, string> = {
	'parked by an extract': `${capture} capture | criu-image-streamer extract -W dst`,
	'through a filter that copies': `${capture} capture | cat | criu-image-streamer extract -W dst`,
	'through a filter that passes references': `${capture} capture | pv -q | criu-image-streamer extract -W dst`,
	'through a slow filter that passes references': `${capture} capture | pv -qL 30m | criu-image-streamer extract -W dst`,
	'through a slow filter that copies': `${capture} capture | pv -qCL 30m | criu-image-streamer extract -W dst`,
	'over three shards': `mkfifo a b c; ${capture} -s 10,11,12 capture 10>a 11>b 12>c & criu-image-streamer -s 10,11,12 extract -W dst 10<a 11<b 12<c`,
	'over TCP on one host':
		'criu-image-streamer --listen tcp://:PORT extract -W dst & ' +
		`${capture} --connect tcp://:PORT capture; wait`,
	'kept for several restores': `${capture} capture | criu-image-streamer --keep extract -W dst`,
	'from a file, later': `${capture} capture >image; criu-image-streamer extract -W dst <image`,
};

async function streamOf(reader: string): Promise<string> {
	return reader.includes('PORT') ? reader.replaceAll('PORT', String(await freePort())) : reader;
}

function moved(command: Command): string {
	return /moving pages without a copy/.test(command.messages()) ? 'by reference' : 'copied';
}

/** Dumps and restores the application through `stream`, and lets it check that its words are unchanged. */
async function comesBack(
	stream: string,
	script: readonly string[],
	start: (scene: Scene) => Promise<Application> = (scene) => scene.start('dying', THREADS, PROCESSES),
	criu = criuOrSkip(),
): Promise<void> {
	const scene = new Scene(criu);
	const application = await start(scene);
	await application.verify();
	const command = scene.shell(await streamOf(stream));
	await scene.dump(application, command, 'src', ...script);
	await scene.restore(command, 'dst');
	await application.verify();
	await command.ends();
	assert.is(moved(command), script.length ? 'by reference' : 'copied');
}

for (const [how, stream] of Object.entries(readers)) {
	for (const [with_, script] of [
		['with the script', SCRIPT],
		['without it', []],
	] as const) {
		for (let i = 1; i <= TIMES; i++) test(`${how}, ${with_}, ${i}`, () => comesBack(stream, script), LONG);
	}
}

const parked = readers['parked by an extract']!;
const filtered = readers['through a slow filter that passes references']!;

for (let i = 1; i <= TIMES; i++) {
	test(
		`threads of musl, ${i}`,
		() => comesBack(filtered, SCRIPT, (scene) => scene.start('dying-musl', THREADS, PROCESSES)),
		LONG,
	);

	test(
		`in a pid namespace of its own, ${i}`,
		async () => {
			const scene = new Scene();
			const before = await scene.startInPidNamespace('dying', THREADS, PROCESSES);
			await before.verify();
			const command = scene.shell(parked);
			await scene.dump(before, command, 'src', ...SCRIPT);
			await scene.restore(command, 'dst', '--pidfile', join(scene.directory, 'pid'));
			const after = scene.restored(before, Number(readFileSync(join(scene.directory, 'pid'), 'utf8')));
			await after.verify();
			await command.ends();
			assert.is(moved(command), 'by reference');
		},
		LONG,
	);

	test(
		`with the newest CRIU, ${i}`,
		() => comesBack(parked, SCRIPT, undefined, criuOrSkip('experimental')),
		LONG,
	);
}

/**
 * Stops the application, and saves a copy of its memory before CRIU's dump. Changes to its pages by CRIU and the kernel from
 * then on, until it is dead, must not be in its image.
 */
async function snapshot(scene: Scene, { pid }: Application): Promise<void> {
	need('pgrep');
	mkdirSync(join(scene.directory, 'frozen'));
	const all = `$(pgrep -g ${pid})`;
	const stopped = `until ! grep -q '^State:.[RS]' $(printf '/proc/%s/status ' ${all}); do sleep 0.01; done`;
	await scene.shell(`kill -STOP ${all}; ${stopped}; exec ${program('snapshot')} frozen ${all}`).ends();
}

/**
 * Compares each page of the image that `read` reads with the memory of its process while it was frozen; returns the number
 * of pages.
 */
async function compare(scene: Scene, read: (name: string) => Promise<Buffer>): Promise<number> {
	let pages = 0;
	for (const process of readdirSync(join(scene.directory, 'frozen'))) {
		const name = `pagemap-${process}.img`;
		const pagemap = new Pagemap(await read(name), name);
		const image = await read(`pages-${pagemap.pagesId}.img`);
		const frozen = readFileSync(join(scene.directory, 'frozen', process));
		for (let at = 0; at < frozen.length; ) {
			const start = Number(frozen.readBigUInt64LE(at));
			const bytes = Number(frozen.readBigUInt64LE(at + 8)) - start;
			const memory = frozen.subarray(at + 16, at + 16 + bytes);
			at += 16 + bytes;
			for (const range of pagemap.locate(start, bytes)) {
				const from = range.address - start;
				const page = image.subarray(range.offset, range.offset + range.bytes);
				assert.ok(
					page.equals(memory.subarray(from, from + range.bytes)),
					`process ${process} at 0x${range.address.toString(16)}`,
				);
				pages++;
			}
		}
	}
	return pages;
}

/** Checks that the image from `stream` equals the memory of the frozen processes, byte by byte. */
async function isTheMemory(
	stream: string,
	script: readonly string[],
	how: string,
	criu = criuOrSkip(),
): Promise<void> {
	const scene = new Scene(criu);
	const application = await scene.start('dying', THREADS, PROCESSES);
	await snapshot(scene, application);
	const command = scene.shell(await streamOf(stream));
	await scene.dump(application, command, 'src', ...script);
	await scene.socket('dst', 'serve', command);
	assert.is(moved(command), how);
	const restore = await StandInRestore.connect(join(scene.directory, 'dst'));
	const pages = await compare(scene, async (name) => {
		const content = await restore.read(name);
		assert.ok(content, `${name} is in the image`);
		return content;
	});
	restore.close();
	await command.ends();
	assert.ok(pages > PROCESSES * THREADS, `${pages} pages were compared`);
}

for (const [how, stream] of Object.entries(readers)) {
	for (let i = 1; i <= TIMES; i++) {
		test(
			`byte by byte the memory of the frozen processes: ${how}, ${i}`,
			() => isTheMemory(stream, SCRIPT, 'by reference'),
			LONG,
		);
	}
}

for (let i = 1; i <= TIMES; i++) {
	test(
		`byte by byte the memory of the frozen processes: copied, ${i}`,
		() => isTheMemory(filtered, [], 'copied'),
		LONG,
	);

	test(
		`byte by byte the memory of the frozen processes: the newest CRIU, ${i}`,
		() => isTheMemory(parked, SCRIPT, 'by reference', criuOrSkip('experimental')),
		LONG,
	);

	test(
		`byte by byte the memory of the frozen processes: extracted to a directory, ${i}`,
		async () => {
			const scene = new Scene();
			const application = await scene.start('dying', THREADS, PROCESSES);
			await snapshot(scene, application);
			const command = scene.shell(`${capture} capture | pv -q | criu-image-streamer extract -D disk`);
			await scene.dump(application, command, 'src', ...SCRIPT);
			await command.ends();
			assert.is(moved(command), 'by reference');
			const disk = (name: string) => join(scene.directory, 'disk', name);
			const pages = await compare(scene, async (name) => readFileSync(disk(name)));
			assert.ok(pages > PROCESSES * THREADS);
			assert.equal(
				readdirSync(join(scene.directory, 'disk')).filter((name) => name.startsWith('streamer')),
				[],
			);
			await scene.run('restore', 'disk', '-d');
			await scene.shell(`kill -CONT -${application.pid}`).ends();
			await application.verify();
		},
		LONG,
	);
}

test(
	'this check can fail: --zero-copy always without the script tears',
	async () => {
		let torn: Error | undefined;
		const stream = parked.replace(' capture ', ' --zero-copy always capture ');
		await isTheMemory(stream, [], 'copied').catch((error) => (torn = error));
		assert.match(torn?.message ?? 'nothing', /^process \d+ at 0x/);
	},
	LONG,
);

test.run();

/**
 * A checkpoint of an application that runs on has its state of one moment, however slow the reader is, and whatever
 * references the reader holds.
 */
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { Application } from '../real/application.js';
import { criuOrSkip } from '../real/programs.js';
import { Scene } from '../real/scene.js';
import { freePort } from '../support/free-port.js';
import { StandInRestore } from '../support/stand-in.js';
import { HOOK } from '../support/streamer.js';
import { full, suite } from '../support/suite.js';
import { MEGABYTES, pagesIn, tear } from './generations.js';

const test = suite('torn', { together: 2 });
const SCRIPT = ['--action-script', HOOK];
const TIMES = full ? 20 : 2;
const LONG = { seconds: full ? 3600 : 600 };

/** The generation of the application, which has just checked all of its memory. */
async function generation(application: Application): Promise<number> {
	await application.verify();
	return Number.parseInt(application.lines().at(-1)!, 10);
}

/** Dumps through `stream`, which ends in images in disk/, and lets the application run on; then checks the images. */
async function throughTo(stream: string, script: string[]): Promise<void> {
	const scene = new Scene();
	const application = await scene.start('generations', MEGABYTES);
	const command = scene.shell(stream);
	await scene.dump(application, command, 'src', '--leave-running', ...script);
	await generation(application);
	await command.ends();
	const { what, generation: seen } = tear(pagesIn(join(scene.directory, 'disk')));
	assert.is(what, undefined);
	assert.ok((await generation(application)) > seen, 'it ran on');
}

/**
 * Dumps through `stream`, whose reader holds the memory; lets the application rewrite all of it several times, and checks
 * the image.
 */
async function held(stream: string, script: string[], message = /./): Promise<string | undefined> {
	const scene = new Scene();
	const application = await scene.start('generations', MEGABYTES);
	const command = scene.shell(stream);
	await scene.dump(application, command, 'src', '--leave-running', ...script);
	await scene.socket('dst', 'serve', command);
	const before = await generation(application);
	let now = before;
	while (now < before + 5) now = await generation(application);
	const restore = await StandInRestore.connect(join(scene.directory, 'dst'));
	const pages = (await restore.read('pages-1.img'))!;
	restore.close();
	await command.ends();
	assert.match(command.messages(), message);
	const { what, generation: seen } = tear(pages);
	assert.ok(now > seen + 1 || what, 'it ran on');
	return what;
}

const capture = 'criu-image-streamer capture -W src';
const extract = 'criu-image-streamer extract';
const ways: Record<string, [stream: string, script: string[]]> = {
	'into a reader that takes 20 MB/s, with the script': [
		`${capture} | pv -qCL 20m | ${extract} -D disk`,
		SCRIPT,
	],
	'into a reader that takes 20 MB/s, without it': [`${capture} | pv -qCL 20m | ${extract} -D disk`, []],
	'through pv, which holds references': [`${capture} | pv -qL 20m | ${extract} -D disk`, []],
	'over three shards, one of them slow': [
		'mkfifo x y z; pv -qL 5m <x >a & cat <y >b & cat <z >c & ' +
			`${capture} -s 10,11,12 10>x 11>y 12>z; wait; ${extract} -s 10,11,12 -D disk 10<a 11<b 12<c`,
		[],
	],
	'into a file, which has a copy at once, with the script': [
		`${capture} > file; ${extract} -D disk < file`,
		SCRIPT,
	],
};

const UNTIL_DELIVERED = /moving pages without a copy: every shard has its own/;
/** The receiver has a copy when it confirms the image, so that pages move by reference. */
const CONNECTED = ['unix:$PWD/link', 'tcp://127.0.0.1:PORT'];

for (const [way, [stream, script]] of Object.entries(ways)) {
	for (let i = 1; i <= TIMES; i++) test(`${way}, ${i}`, () => throughTo(stream, script), LONG);
}

for (const [way, script] of [
	['without the script', []],
	['with the script', SCRIPT],
] as const) {
	for (let i = 1; i <= TIMES; i++) {
		test(
			`through an extract, which holds the whole image, ${way}, ${i}`,
			async () => assert.is(await held(`${capture} | ${extract} -W dst`, [...script]), undefined),
			LONG,
		);
	}
}

for (const address of CONNECTED) {
	for (let i = 1; i <= TIMES; i++) {
		test(
			`over ${address}, into an extract on this host, which holds the whole image, with the script, ${i}`,
			async () => {
				const to = address.replace('PORT', String(await freePort()));
				const stream = `${extract} --listen "${to}" -W dst & ${capture} -v3 --connect "${to}"; wait $!`;
				assert.is(await held(stream, SCRIPT, UNTIL_DELIVERED), undefined);
			},
			LONG,
		);
	}
}

test(
	'this check can fail: --zero-copy always tears',
	async () => {
		const what = await held(`${capture} --zero-copy always | ${extract} -W dst`, []);
		assert.match(what ?? 'nothing', /^generations \d+ to \d+ in one image/);
	},
	LONG,
);

if (full) {
	for (let i = 1; i <= TIMES; i++) {
		test(
			`with the newest CRIU, ${i}`,
			async () => {
				const scene = new Scene(criuOrSkip('experimental'));
				const application = await scene.start('generations', MEGABYTES);
				const command = scene.shell(`${capture} | pv -qCL 20m | ${extract} -D disk`);
				await scene.dump(application, command, 'src', '--leave-running');
				await command.ends();
				assert.is(tear(pagesIn(join(scene.directory, 'disk'))).what, undefined);
			},
			LONG,
		);
	}
}

test.run();

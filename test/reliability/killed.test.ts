/**
 * SIGKILL of each who takes part, at any moment: the others end soon, nothing is left but the sockets of the one that was
 * killed, which the next one replaces, and nobody takes half an image for a whole one.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { Scene } from '../real/scene.js';
import { dumpUnlessEnded, restoreUnlessEnded } from '../support/connect.js';
import { content } from '../support/content.js';
import { imageEnd, streamOf, whole } from '../support/markers.js';
import { random } from '../support/random.js';
import { namesIn, type StandInDump } from '../support/stand-in.js';
import { HOOK, type Streamer, startCapture, startExtract, startPipeline } from '../support/streamer.js';
import { full, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/temporary.js';
import { until } from '../support/until.js';

const RUNS = full ? 200 : 24;
const REAL_RUNS = full ? 40 : 4;
/** For everybody else to end: a second or less; the bound is what a machine under load may need. */
const SECONDS = full ? 5 : 60;
const PIECE = 64 << 10;

const files = new Map(
	[100, 70_000, 0, 4_000_000, 30_000, 2_000_000].map((bytes, i) => [`pages-${i}.img`, content(i + 1, bytes)]),
);
const TOTAL = [...files.values()].reduce((sum, { length }) => sum + length, 0);

type Victim = 'capture' | 'extract' | 'criu';

class Killed extends Error {}

/** Writes the images, and calls `progress` with how many bytes went out. */
async function dumpAll(dump: StandInDump, progress: (bytes: number) => void): Promise<void> {
	let sent = 0;
	for (const [name, bytes] of files) {
		const out = await dump.file(name);
		try {
			for (let at = 0; at < bytes.length; at += PIECE) {
				progress(sent);
				await out.write(bytes.subarray(at, at + PIECE));
				sent += Math.min(PIECE, bytes.length - at);
			}
		} finally {
			out.close();
		}
	}
	progress(TOTAL);
	await dump.put('inventory.img', 'inventory');
	dump.close();
}

async function endsSoon(process: Streamer, what: string): Promise<string> {
	return until(`the end of ${what}`, () => process.ended, SECONDS);
}

const SOCKETS = {
	capture: ['streamer-capture-control.sock', 'streamer-capture.sock'],
	extract: ['streamer-serve-control.sock', 'streamer-serve.sock'],
};

/** What is in the work dir, of which only the victim may have left something. */
function leftIn(work: string, side: 'capture' | 'extract', victim: Victim): string[] {
	// A socket that was just being made has a name of its own for a moment.
	const left = namesIn(work).map((name) => name.replace(/^\.(.*\.sock)\.\d+(\.old)?$/, '$1'));
	if (victim === side)
		assert.equal(
			left.filter((name) => !SOCKETS[side].includes(name)),
			[],
		);
	else assert.equal(left, [], `what ${side} left`);
	return left;
}

async function nextOne(work: string, side: 'capture' | 'extract'): Promise<void> {
	let process: Streamer;
	if (side === 'capture') ({ process } = startCapture({ work }));
	else {
		const extract = startExtract({ work });
		({ process } = extract);
		await extract.shards[0]!.end(streamOf(...whole('a.img', 'a'), imageEnd()));
	}
	await process.line('socket-init');
	process.kill('SIGTERM');
	await process.end;
	assert.equal(
		namesIn(work).filter((name) => SOCKETS[side].includes(name)),
		[],
	);
}

function isWhole(folder: string): boolean {
	if (!existsSync(join(folder, 'inventory.img'))) return false;
	for (const [name, bytes] of files) assert.ok(readFileSync(join(folder, name)).equals(bytes), name);
	return true;
}

async function run(seed: number): Promise<void> {
	const next = random(seed);
	const toFolder = next() < 0.5;
	const moment = (['start', 'dump', 'dump', 'end', 'restore'] as const)[Math.floor(next() * 5)]!;
	const victims: Victim[] = moment === 'restore' ? ['extract', 'criu'] : ['capture', 'extract', 'criu'];
	const victim = victims[Math.floor(next() * victims.length)]!;
	const at = moment === 'end' ? TOTAL : Math.floor(next() * TOTAL);
	const imagesDir = join(temporaryFolder(), 'images');
	const { capture, extract } = startPipeline({ extract: toFolder ? { imagesDir } : {} });
	let struck = false;
	let criu: { close(): void } | undefined;
	const strike = () => {
		if (struck) return;
		struck = true;
		if (victim === 'capture') capture.process.kill('SIGKILL');
		else if (victim === 'extract') extract.process.kill('SIGKILL');
	};
	// A CRIU that is killed closes all that it has: so does the stand-in, between two of its calls.
	const progress = (strikes: boolean, bytes: number) => {
		if (strikes && bytes >= at) strike();
		if (struck && victim === 'criu') throw new Killed();
	};
	if (moment === 'start') setTimeout(strike, next() * 300);

	const dumping = (async () => {
		const dump = await dumpUnlessEnded(capture.work, capture.process);
		criu = dump;
		const strikes = moment === 'dump' || moment === 'end';
		if (dump) await dumpAll(dump, (bytes) => progress(strikes, bytes));
	})().catch(() => criu?.close());
	await dumping;
	let restored = false;
	const restore = toFolder ? undefined : await restoreUnlessEnded(extract.work, extract.process);
	if (restore) {
		criu = restore;
		try {
			let got = 0;
			for (const [name, bytes] of files) {
				progress(moment === 'restore', got);
				assert.ok((await restore.read(name))?.equals(bytes) || struck, `${name} is what was dumped`);
				got += bytes.length;
			}
			restored = true;
		} catch (error) {
			if (!struck) throw error;
		}
		restore.close();
	}

	const captureEnd = await endsSoon(capture.process, 'capture');
	const extractEnd = await endsSoon(extract.process, 'extract');
	if (victim !== 'capture') assert.match(captureEnd, /^exit code [01]$/, capture.process.stderr);
	if (victim !== 'extract') assert.match(extractEnd, /^exit code [01]$/, extract.process.stderr);
	if (extractEnd === 'exit code 0') assert.ok(toFolder ? isWhole(imagesDir) : restore, 'it is all there');
	else if (toFolder) isWhole(imagesDir);
	if (extractEnd === 'exit code 1' && toFolder && existsSync(imagesDir)) assert.equal(namesIn(imagesDir), []);
	if (captureEnd === 'exit code 0' && victim !== 'extract') {
		assert.ok(toFolder ? extractEnd === 'exit code 0' : restored || struck, 'what is out arrives');
	}
	if (leftIn(capture.work, 'capture', victim).length) await nextOne(capture.work, 'capture');
	if (!toFolder && leftIn(extract.work, 'extract', victim).length) await nextOne(extract.work, 'extract');
}

const test = suite('killed', { together: 3 });

for (let i = 1; i <= RUNS; i++) test(`seed ${i}`, () => run(i));

for (let i = 1; i <= REAL_RUNS; i++) {
	test(`with a real CRIU, seed ${i}`, async () => {
		const next = random(1000 + i);
		const victim = (['capture', 'extract', 'criu'] as const)[i % 3]!;
		const scene = new Scene();
		const application = await scene.start('generations', 48);
		const noted = (name: string, command: string) => `bash -c 'echo $$ >${name}.pid; exec ${command}'`;
		// Over a connection of ours: behind a pipe nobody would know of an extract that dies with all of it read.
		const stream = scene.shell(
			`${noted('capture', 'criu-image-streamer capture -W src --connect unix:link')} & ` +
				`${noted('extract', 'criu-image-streamer extract --listen unix:link -D disk')}; ` +
				'code=$?; wait $! && exit $code',
		);
		await scene.socket('src', 'capture', stream);
		const dump = scene.shell(
			`${noted('criu', `"$criu" dump -D src --stream -o dump.log -t ${application.pid} --action-script ${HOOK}`)}`,
		);
		const pid = await until(
			'its number',
			() => Number(readIf(join(scene.folder, `${victim}.pid`))) || undefined,
		);
		// Before, they wait for each other for as long as that takes.
		await until('the dump', () => /checkpoint-start/.test(stream.messages()) || dump.code !== undefined);
		await new Promise((resolve) => setTimeout(resolve, next() * 1000));
		try {
			process.kill(pid, 'SIGKILL');
		} catch {
			// It was faster.
		}
		await until('the end of the dump', () => dump.code !== undefined, SECONDS);
		await until('the end of the streamers', () => stream.code !== undefined, SECONDS);
		const arrived = existsSync(join(scene.folder, 'disk', 'inventory.img'));
		// A killed CRIU leaves the application as it was at that moment, which is not for us to mend.
		if (victim !== 'criu')
			assert.ok(arrived || application.exists(), 'the image or the application is there');
		if (victim !== 'criu' && dump.code !== 0) await application.verify();
		if (stream.code === 0) assert.ok(arrived);
	});
}

function readIf(path: string): string {
	return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

test.run();

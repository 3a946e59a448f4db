/**
 * SIGKILL of each participant, at any moment: the others end soon, only the sockets of the killed process are left, which
 * the next one replaces, and no reader accepts an incomplete image.
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
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';

const RUNS = full ? 200 : 24;
const REAL_RUNS = full ? 40 : 4;
/** Time limit for the others to end: a second or less; the limit allows for a machine under load. */
const SECONDS = full ? 5 : 60;
const PIECE = 64 << 10;

const files = new Map(
	[100, 70_000, 0, 4_000_000, 30_000, 2_000_000].map((bytes, i) => [`pages-${i}.img`, content(i + 1, bytes)]),
);
const TOTAL = [...files.values()].reduce((sum, { length }) => sum + length, 0);

type Victim = 'capture' | 'extract' | 'criu';

class Killed extends Error {}

/** Writes the images, and calls `progress` with the number of written bytes. */
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

/** The names in the work dir; only the victim may have left files. */
function leftIn(work: string, side: 'capture' | 'extract', victim: Victim): string[] {
	// A socket that is being created has a temporary name for a moment.
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

function isWhole(directory: string): boolean {
	if (!existsSync(join(directory, 'inventory.img'))) return false;
	for (const [name, bytes] of files) assert.ok(readFileSync(join(directory, name)).equals(bytes), name);
	return true;
}

async function run(seed: number): Promise<void> {
	const next = random(seed);
	const toDirectory = next() < 0.5;
	const moment = (['start', 'dump', 'dump', 'end', 'restore'] as const)[Math.floor(next() * 5)]!;
	const victims: Victim[] = moment === 'restore' ? ['extract', 'criu'] : ['capture', 'extract', 'criu'];
	const victim = victims[Math.floor(next() * victims.length)]!;
	const at = moment === 'end' ? TOTAL : Math.floor(next() * TOTAL);
	const imagesDir = join(temporaryDirectory(), 'images');
	const { capture, extract } = startPipeline({ extract: toDirectory ? { imagesDir } : {} });
	let struck = false;
	let criu: { close(): void } | undefined;
	const strike = () => {
		if (struck) return;
		struck = true;
		if (victim === 'capture') capture.process.kill('SIGKILL');
		else if (victim === 'extract') extract.process.kill('SIGKILL');
	};
	// A killed CRIU closes all of its descriptors: so does the stand-in, between two of its calls.
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
	const restore = toDirectory ? undefined : await restoreUnlessEnded(extract.work, extract.process);
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
	if (extractEnd === 'exit code 0')
		assert.ok(toDirectory ? isWhole(imagesDir) : restore, 'the image is complete');
	else if (toDirectory) isWhole(imagesDir);
	if (extractEnd === 'exit code 1' && toDirectory && existsSync(imagesDir))
		assert.equal(namesIn(imagesDir), []);
	if (captureEnd === 'exit code 0' && victim !== 'extract') {
		assert.ok(toDirectory ? extractEnd === 'exit code 0' : restored || struck, 'a delivered image arrives');
	}
	if (leftIn(capture.work, 'capture', victim).length) await nextOne(capture.work, 'capture');
	if (!toDirectory && leftIn(extract.work, 'extract', victim).length) await nextOne(extract.work, 'extract');
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
		// Over a connection: behind a pipe the death of an extract that has read everything would go unnoticed.
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
			'its pid',
			() => Number(readIf(join(scene.directory, `${victim}.pid`))) || undefined,
		);
		// Before the dump begins they wait for each other without limit.
		await until('the dump', () => /checkpoint-start/.test(stream.messages()) || dump.code !== undefined);
		await new Promise((resolve) => setTimeout(resolve, next() * 1000));
		try {
			process.kill(pid, 'SIGKILL');
		} catch {
			// It has ended already.
		}
		await until('the end of the dump', () => dump.code !== undefined, SECONDS);
		await until('the end of the streamers', () => stream.code !== undefined, SECONDS);
		const arrived = existsSync(join(scene.directory, 'disk', 'inventory.img'));
		// A killed CRIU leaves the application in its state of that moment, which the streamer cannot repair.
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

/**
 * Calls that fail now and then, as they fail once in a million times in the kernel: the result is correct, or a clean error;
 * never a hang, nor an incomplete stream that looks whole.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { dumpUnlessEnded, restoreUnlessEnded } from '../support/connect.js';
import { content } from '../support/content.js';
import { data, file, fileEnd, imageEnd, markersIn, streamOf, whole } from '../support/markers.js';
import { namesIn } from '../support/stand-in.js';
import { type Streamer, startCapture, startExtract } from '../support/streamer.js';
import { full, suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';

const files = new Map(
	[0, 100, 60_000, 70_000, 3_000_001].map((bytes, i) => [`pages-${i}.img`, content(i + 1, bytes)]),
);
const INVENTORY = Buffer.from('inventory');
const stream = streamOf(
	...[...files].flatMap(([name, bytes]) => [file(name), data(bytes), fileEnd()]),
	...whole('inventory.img', 'inventory'),
	imageEnd(),
);

/** Faults that a program must handle: the result is still correct. */
const harmless = [
	'read:EINTR:2',
	'read:short:2',
	'write:EINTR:2',
	'write:EAGAIN:3',
	'write:short:2',
	'splice:EINTR:2',
	'splice:EAGAIN:3',
	'splice:short:2',
	'recvmsg:EINTR:2',
	'recvmsg:EAGAIN:2',
	'epoll_wait:EINTR:2',
	'accept4:EINTR:2',
	'accept4:ECONNABORTED:2',
	'pipe2:EMFILE:=5',
	'fallocate:EOPNOTSUPP:1',
	'pwrite:EINTR:2',
	'pwrite:short:2',
	'read:EINTR:3,read:short:2,write:EAGAIN:2,write:short:3,splice:EAGAIN:2,splice:short:3,epoll_wait:EINTR:3',
];
/** The same, for a capture only: a reader reads from its own pipe, where EAGAIN never occurs while there are bytes. */
const harmlessToCapture = ['read:EAGAIN:3'];
/** Faults that may end the run with an error; a correct result is accepted as well. */
const harmful = [
	'read:EIO:=5',
	'write:EIO:=4',
	'write:ENOSPC:=3',
	'write:EPIPE:=4',
	'splice:EIO:=3',
	'splice:ENOMEM:=2',
	'splice:ENOSPC:=2',
	'splice:EINVAL:=1',
	'pwrite:ENOSPC:=2',
	'memfd_create:ENOMEM:=1',
	'pipe2:ENOMEM:1',
	'recvmsg:EMFILE:=3',
	'recvmsg:ENOMEM:=2',
	'epoll_ctl:ENOMEM:=5',
	'epoll_ctl:ENOSPC:=8',
	'timerfd_create:EMFILE:1',
	'timerfd_settime:EINVAL:=2',
	'fcntl:EPERM:7',
	'accept4:EMFILE:=1',
	'socket:EMFILE:=1',
	'bind:EACCES:=1',
	'listen:EADDRINUSE:=1',
	'linkat:EEXIST:=2',
	'linkat:ENOSPC:=1',
	'getsockopt:ENOBUFS:=1',
];
const CALLS = [
	...['read', 'write', 'splice', 'pwrite', 'recvmsg', 'epoll_ctl', 'epoll_wait', 'fcntl', 'pipe2'],
	...[
		'linkat',
		'poll',
		'getsockopt',
		'timerfd_settime',
		'timerfd_create',
		'bind',
		'socket',
		'listen',
		'memfd_create',
	],
];
/** In a full run: each call fails once, at its first to its twentieth time. */
const each = full
	? CALLS.flatMap((call) =>
			['EIO', 'ENOMEM', 'EINTR', 'EAGAIN'].flatMap((error) =>
				Array.from({ length: 20 }, (_, i) => `${call}:${error}:=${i + 1}`),
			),
		)
	: [];

/** Expects exit code 0, or 1 and one line with the reason. Returns whether it was 0. */
async function ends(process: Streamer, must: boolean): Promise<boolean> {
	const end = await process.end;
	if (end === 'exit code 0') return true;
	assert.not.ok(must, `${end}: ${process.stderr}`);
	assert.is(end, 'exit code 1', process.stderr);
	const messages = process.lines.filter((line) => !/^(\{|socket-init|checkpoint-start)/.test(line));
	assert.is(messages.length, 1, process.stderr);
	assert.match(messages[0]!, /^criu-image-streamer: \S/);
	return false;
}

/** A dump into a capture with the faults; its stream has an end only where all of it is correct. */
async function captured(faults: string, mode: string, must: boolean): Promise<void> {
	const { process, work, shards } = startCapture({
		env: { CRIU_STREAMER_FAULTS: faults },
		args: ['--zero-copy', mode],
	});
	const reading = shards[0]!.all();
	const dumping = (async () => {
		const dump = await dumpUnlessEnded(work, process);
		if (!dump) return;
		try {
			await Promise.all([...files].map(([name, bytes]) => dump.put(name, bytes)));
			await dump.put('inventory.img', INVENTORY);
		} catch {
			// The capture failed, and has to report that itself.
		}
		dump.close();
	})();
	const bytes = await reading;
	await dumping;
	const well = await ends(process, must);
	const image = imageIn(bytes);
	// Where a call fails between the end of the stream and the proof of its delivery, the image is whole nevertheless.
	if (well || image) {
		for (const [name, wanted] of [...files, ['inventory.img', INVENTORY] as const]) {
			assert.ok(image?.get(name)?.equals(wanted), `${name} is not what was dumped`);
		}
	}
	assert.equal(namesIn(work), []);
}

/** The image in the stream of one shard; undefined where it has no end. */
function imageIn(bytes: Buffer): Map<string, Buffer> | undefined {
	const image = new Map<string, Buffer[]>();
	let current = '';
	let at = 0;
	let end = false;
	try {
		for (const marker of markersIn(bytes)) {
			const [, kind, value = ''] = marker.split(' ');
			at += 4 + bytes.readUInt32LE(at);
			if (kind === 'file') image.set((current = value), image.get(value) ?? []);
			if (kind === 'data') image.get(current)!.push(bytes.subarray(at, (at += Number(value))));
			end = kind === 'image-end';
		}
	} catch {
		return undefined;
	}
	return end ? new Map([...image].map(([name, parts]) => [name, Buffer.concat(parts)])) : undefined;
}

async function extracted(faults: string, must: boolean): Promise<void> {
	const around = temporaryDirectory();
	const imagesDir = join(around, 'images');
	const { process, shards } = startExtract({ imagesDir, env: { CRIU_STREAMER_FAULTS: faults } });
	await shards[0]!.end(stream).catch(() => shards[0]!.close());
	if (await ends(process, must)) {
		for (const [name, bytes] of files) assert.ok(readFileSync(join(imagesDir, name)).equals(bytes), name);
	} else if (namesIn(around).length) assert.equal(namesIn(imagesDir), [], 'nothing is left half-written');
}

async function replayed(faults: string, must: boolean, keep: boolean): Promise<void> {
	const { process, work, shards } = startExtract({
		env: { CRIU_STREAMER_FAULTS: faults },
		args: keep ? ['--keep'] : [],
	});
	await shards[0]!.end(stream).catch(() => shards[0]!.close());
	const restore = await restoreUnlessEnded(work, process);
	let wrong: string | undefined;
	if (restore) {
		try {
			for (const [name, bytes] of files) {
				const got = await restore.read(name);
				// CRIU detects truncated content, but not wrong bytes.
				if (got && !got.equals(bytes.subarray(0, got.length))) wrong = `${name} has other bytes`;
				else if (got?.length !== bytes.length) wrong ??= 'cut';
			}
		} catch {
			wrong ??= 'cut';
		}
		restore.close();
	}
	const well = await ends(process, must);
	assert.ok(wrong === undefined || (wrong === 'cut' && !well), `${wrong}, and ${process.ended}`);
	assert.equal(namesIn(work), []);
}

for (const [kind, all, must] of [
	['harmless', [...harmless, ...harmlessToCapture], true],
	['harmful', [...harmful, ...each], false],
] as const) {
	const test = suite(`faults, ${kind}`, { together: 3 });
	for (const faults of all) {
		const calls = faults.replace(/,.*/, ' and more');
		for (const mode of ['always', 'never']) {
			test(`${calls}, capture --zero-copy ${mode}`, () => captured(faults, mode, must));
		}
		if (harmlessToCapture.includes(faults)) continue;
		test(`${calls}, extract`, () => replayed(faults, must, false));
		test(`${calls}, extract --keep`, () => replayed(faults, must, true));
		test(`${calls}, extract into a directory`, () => extracted(faults, must));
	}
	test.run();
}

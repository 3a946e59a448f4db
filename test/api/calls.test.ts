/** The calls of the package within this process: their results, their failures and their clean-up. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { capture, extract, type ProgressEvent, StreamError, serve } from '../../src/index.js';
import { bytesWaiting } from '../../src/libc/pipes.js';
import { content } from '../support/content.js';
import { descriptorsAtFirst, openDescriptors } from '../support/descriptors.js';
import { pipe } from '../support/pipe.js';
import { askFinished } from '../support/question.js';
import { namesIn, StandInDump, StandInRestore } from '../support/stand-in.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';

const test = suite('calls');

/** The error that `call` rejects with. */
async function failureOf(call: Promise<unknown>): Promise<unknown> {
	return await call.then(
		() => assert.unreachable('it succeeded'),
		(error) => error,
	);
}

/** The calls without types, as a JavaScript program sees them. */
const untyped = { capture, extract, serve } as unknown as Record<
	string,
	(options: unknown) => Promise<unknown>
>;

test('a dump is replayed in the same process, and its events are reported', async () => {
	const before = await descriptorsAtFirst();
	const [dumpDirectory, restoreDirectory] = [temporaryDirectory(), temporaryDirectory()];
	const { readEnd, writeEnd } = pipe();
	const events: ProgressEvent[] = [];
	const captured = capture({
		workDir: dumpDirectory,
		shardFds: [writeEnd.handOver()],
		onProgress: (event) => events.push(event),
	});
	const served = serve({ workDir: restoreDirectory, shardFds: [readEnd.handOver()] });
	const dump = await StandInDump.connect(dumpDirectory);
	await dump.finish({ 'core-1.img': 'core' });
	const { files, shards } = await captured;
	assert.is(files, 2);
	assert.is(shards.length, 1);
	assert.equal(events, ['ready', 'socket-init', 'checkpoint-start']);
	const restore = await StandInRestore.connect(restoreDirectory);
	assert.equal(await restore.read('core-1.img'), Buffer.from('core'));
	restore.close();
	assert.equal(await served, { files, shards: [{ ...(await served).shards[0]!, bytes: shards[0]!.bytes }] });
	assert.equal([...namesIn(dumpDirectory), ...namesIn(restoreDirectory)], []);
	// CRIU may hold its socket for longer than the capture lasts.
	await until('the descriptors to be closed', () => openDescriptors() === before);
});

/** The calls that wait, and the file that has to exist before they are aborted. */
const waits: Record<string, (signal: AbortSignal, work: string) => [call: Promise<unknown>, made: string]> = {
	'a capture for CRIU': (signal, workDir) => [
		capture({ workDir, shardFds: [pipe().writeEnd.handOver()], signal }),
		'streamer-capture.sock',
	],
	'a capture for its receiver': (signal, workDir) => [
		capture({ workDir, listen: [`unix:${workDir}/stream`], signal }),
		'stream',
	],
	'a capture that connects': (signal, workDir) => [
		capture({ workDir, connect: [`unix:${workDir}/absent`], signal }),
		'streamer-capture-control.sock',
	],
	'a replay for its stream': (signal, workDir) => [
		serve({ workDir, shardFds: [pipe().readEnd.handOver()], signal }),
		'streamer-serve-control.sock',
	],
	'an extract for its stream': (signal, workDir) => [
		extract({ imagesDir: join(workDir, 'files'), shardFds: [pipe().readEnd.handOver()], signal }),
		'files',
	],
};

for (const [what, begin] of Object.entries(waits)) {
	test(`aborted: ${what}`, async () => {
		const work = temporaryDirectory();
		const controller = new AbortController();
		const [call, made] = begin(controller.signal, work);
		const failed = failureOf(call);
		await until(made, () => existsSync(join(work, made)));
		const reason = new Error('no longer wanted');
		controller.abort(reason);
		assert.is(await failed, reason);
		assert.equal(
			namesIn(work).filter((name) => name !== 'files'),
			[],
		);
	});
}

test('aborted: a replay that waits for CRIU', async () => {
	const [dumpDirectory, workDir] = [temporaryDirectory(), temporaryDirectory()];
	const { readEnd, writeEnd } = pipe();
	const controller = new AbortController();
	const captured = capture({ workDir: dumpDirectory, shardFds: [writeEnd.handOver()] });
	const failed = failureOf(serve({ workDir, shardFds: [readEnd.handOver()], signal: controller.signal }));
	await (await StandInDump.connect(dumpDirectory)).finish();
	await captured;
	await until('the socket', () => existsSync(join(workDir, 'streamer-serve.sock')));
	controller.abort();
	assert.is((await failed) as Error, controller.signal.reason);
	assert.equal(namesIn(workDir), []);
});

test('aborted after delivery, while CRIU holds its socket: that is closed', async () => {
	const before = await descriptorsAtFirst();
	const workDir = temporaryDirectory();
	const { readEnd, writeEnd } = pipe();
	const controller = new AbortController();
	const { signal } = controller;
	const failed = failureOf(capture({ workDir, shardFds: [writeEnd.handOver()], signal }));
	const criu = await StandInDump.connect(workDir);
	await criu.put('inventory.img', 'inventory');
	await readEnd.all();
	controller.abort();
	assert.is(await failed, signal.reason);
	readEnd.close();
	// CRIU's own end is left.
	await until('the other descriptors to be closed', () => openDescriptors() === before + 1);
	criu.close();
});

test('a reader that ends before the last bytes: CRIU’s connection is closed with the call', async () => {
	const before = await descriptorsAtFirst();
	const workDir = temporaryDirectory();
	const { readEnd, writeEnd } = pipe();
	const failed = failureOf(capture({ workDir, shardFds: [writeEnd.handOver()] }));
	const criu = await StandInDump.connect(workDir);
	await criu.put('inventory.img', 'inventory');
	// All but the end of the image, which follows once this is read.
	await readEnd.take(1 << 20);
	await until('the end of the image', () => bytesWaiting(readEnd.fd) > 0);
	readEnd.close();
	assert.match(((await failed) as Error).message, /ended without the last \d+ bytes/);
	await until('the other descriptors to be closed', () => openDescriptors() === before + 1);
	criu.close();
});

test('aborted before the call: nothing is created', async () => {
	const workDir = join(temporaryDirectory(), 'work');
	const signal = AbortSignal.abort(new Error('too late'));
	assert.is(await failureOf(capture({ workDir, shardFds: [1000], signal })), signal.reason);
	assert.is(existsSync(workDir), false);
});

const wrong: [call: string, options: unknown, message: RegExp][] = [
	['capture', undefined, /^options are needed/],
	['capture', { shardFds: [3] }, /^workDir is missing$/],
	['extract', { shardFds: [3] }, /^imagesDir is missing$/],
	['serve', { workDir: '.' }, /^shardFds, connect or listen has to say/],
	['capture', { workDir: '.', shardFds: [3], connect: ['unix:/a'] }, /^shardFds and connect exclude/],
	['capture', { workDir: '.', shardFds: [3], keep: true }, /^keep is an option of extract and serve/],
	['capture', { workDir: '.', shardFds: [3], daemon: true }, /^there is no option daemon$/],
	['capture', { workDir: '.', shardFds: ['x'] }, /^shardFds: x is no file descriptor/],
	['capture', { workDir: '.', shardFds: [1000] }, /^shard fd 1000 is not open/],
	['capture', { workDir: '.', shardFds: 3 }, /^shardFds has to be an array/],
	['capture', { workDir: '.', shardFds: [3], zeroCopy: 'sometimes' }, /^zeroCopy: sometimes is not one of/],
	['capture', { workDir: '.', shardFds: [3], allowIncomplete: 'yes' }, /^allowIncomplete has to be true/],
	['serve', { workDir: '.', shardFds: [3], memoryLimit: -1 }, /^memoryLimit: -1 is no size/],
	['serve', { workDir: '.', shardFds: [3], stallTimeout: Number.NaN }, /^stallTimeout: NaN is no number/],
	['serve', { workDir: '.', connect: ['nowhere'] }, /^connect nowhere|^connect: /],
];

test('an error about an option names the field, and has a code', async () => {
	for (const [call, options, message] of wrong) {
		const error = await failureOf(untyped[call]!(options));
		assert.instance(error, StreamError);
		assert.is((error as StreamError).code, 'USAGE', (error as Error).message);
		assert.match((error as Error).message, message);
	}
});

test('descriptors given to a call are closed where it fails, unless its options are wrong', async () => {
	const before = await descriptorsAtFirst();
	const workDir = temporaryDirectory();
	const controller = new AbortController();
	const busy = failureOf(
		capture({ workDir, shardFds: [pipe().writeEnd.handOver()], signal: controller.signal }),
	);
	await until('the socket', () => existsSync(join(workDir, 'streamer-capture.sock')));
	const during = openDescriptors();

	const { readEnd, writeEnd } = pipe();
	const second = (await failureOf(capture({ workDir, shardFds: [writeEnd.fd] }))) as StreamError;
	assert.is(second.code, 'SOCKET_IN_USE', second.message);
	writeEnd.handOver();
	assert.equal(await readEnd.all(), Buffer.alloc(0));
	assert.is(openDescriptors(), during);

	const file = pipe();
	const stream = pipe();
	stream.writeEnd.close();
	const options = { extFileFds: { absent: file.writeEnd.handOver() }, shardFds: [stream.readEnd.handOver()] };
	await failureOf(extract({ ...options, imagesDir: join(workDir, 'files') }));
	assert.equal(await file.readEnd.all(), Buffer.alloc(0));

	const kept = pipe();
	const criuFd = 1000;
	const wrongs = (await failureOf(serve({ workDir, shardFds: [kept.readEnd.fd], criuFd }))) as StreamError;
	assert.is(wrongs.code, 'USAGE', wrongs.message);
	kept.writeEnd.close();
	assert.equal(await kept.readEnd.all(), Buffer.alloc(0));

	controller.abort();
	await busy;
	await until('the descriptors to be closed', () => openDescriptors() <= before + 1);
});

test('a truncated stream fails with a code, and no file gets its name', async () => {
	const imagesDir = join(temporaryDirectory(), 'files');
	const { readEnd, writeEnd } = pipe();
	const failed = failureOf(extract({ imagesDir, shardFds: [readEnd.handOver()] }));
	writeEnd.close();
	const error = (await failed) as StreamError;
	assert.instance(error, StreamError);
	assert.is(error.code, 'STREAM_INCOMPLETE');
	assert.match(error.message, /^the stream ends before the image does/);
	assert.equal(namesIn(imagesDir), []);
});

test('a dump that ends early and an image that does not fit have different codes', async () => {
	const [dumpDirectory, workDir] = [temporaryDirectory(), temporaryDirectory()];
	const first = pipe();
	const cut = failureOf(capture({ workDir: dumpDirectory, shardFds: [first.writeEnd.handOver()] }));
	const dump = await StandInDump.connect(dumpDirectory);
	await dump.put('core-1.img', 'core');
	const script = await askFinished(dumpDirectory);
	dump.close();
	const incomplete = (await cut) as StreamError;
	assert.is(await script.reason(), incomplete.message, 'the action script is told the same');
	assert.is(incomplete.code, 'DUMP_INCOMPLETE');
	assert.match(incomplete.message, /; allowIncomplete takes such a stream for whole/);

	const second = pipe();
	const shardFds = [second.readEnd.handOver()];
	const full = failureOf(serve({ workDir, shardFds, memoryLimit: 100_000 }));
	const captured = capture({ workDir: dumpDirectory, shardFds: [second.writeEnd.handOver()] }).catch(
		() => {},
	);
	const large = await StandInDump.connect(dumpDirectory);
	await large.put('pages-1.img', content(1, 300_000)).catch(() => {});
	large.close();
	const short = (await full) as StreamError;
	assert.is(short.code, 'MEMORY_LIMIT');
	assert.match(
		short.message,
		/100000 bytes of memory.* \(memoryLimit\); let the rest go to a disk with spool DIR$/,
	);
	await captured;
});

test('the far end is told in the names that a program has for options', async () => {
	const [dumpDirectory, workDir] = [temporaryDirectory(), temporaryDirectory()];
	const address = `unix:${join(workDir, 'stream')}`;
	const full = failureOf(serve({ workDir, listen: [address], memoryLimit: 100_000 }));
	const told = failureOf(capture({ workDir: dumpDirectory, connect: [address] }));
	const dump = await StandInDump.connect(dumpDirectory);
	await dump.put('pages-1.img', content(1, 300_000)).catch(() => {});
	dump.close();
	const { message } = (await full) as StreamError;
	assert.match(message, / \(memoryLimit\); .* spool DIR$/);
	assert.match(((await told) as StreamError).message, `says: ${message}`);
});

test('an error thrown by a listener of the program does not end a dump', async () => {
	const workDir = temporaryDirectory();
	const { readEnd, writeEnd } = pipe();
	const fail = () => {
		throw new Error('an error in the program');
	};
	const captured = capture({
		workDir,
		shardFds: [writeEnd.handOver()],
		onProgress: fail,
		log: { warn: fail, info: fail },
	});
	await (await StandInDump.connect(workDir)).finish();
	await readEnd.all();
	assert.is((await captured).files, 1);
});

test.run();

/** The calls of the package within this process: their results, their failures and their clean-up. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
// A call loads it; compiling it then would start a process of the compiler, whose socket counts as a descriptor.
import '../../src/api/calls.js';
import { capture, extract, type ProgressEvent, StreamError, serve } from '../../src/index.js';
import { content } from '../support/content.js';
import { descriptorsAtFirst, openDescriptors } from '../support/descriptors.js';
import { failureOf } from '../support/failure.js';
import { pipe } from '../support/pipe.js';
import { askFinished } from '../support/question.js';
import { namesIn, StandInDump, StandInRestore } from '../support/stand-in.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';

const test = suite('calls');

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

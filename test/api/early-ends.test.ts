/** How calls of the package end early: aborted, or because the other side has ended. Nothing of them stays open. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
// A call loads it; compiling it then would start a process of the compiler, whose socket counts as a descriptor.
import '../../src/api/calls.js';
import { capture, extract, serve } from '../../src/index.js';
import { bytesWaiting } from '../../src/libc/pipes.js';
import { descriptorsAtFirst, openDescriptors } from '../support/descriptors.js';
import { failureOf } from '../support/failure.js';
import { pipe } from '../support/pipe.js';
import { namesIn, StandInDump } from '../support/stand-in.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';

const test = suite('calls that end early');

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

test.run();

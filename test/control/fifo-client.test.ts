/** The FIFOs of a capture: when they exist, what is left of them, and what others write into them. */
import { once } from 'node:events';
import {
	closeSync,
	constants,
	mkdirSync,
	openSync,
	readdirSync,
	readlinkSync,
	statSync,
	writeFileSync,
	writeSync,
} from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { processOf } from '../../src/control/lineage.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';
import { ActingCriu, run } from './script.js';
import { captureProcess, claimed, controlServer, fifosIn } from './servers.js';

const test = suite('FIFOs of the action script');

/** The FIFOs of `dir` that this process has open. */
function openFifos(dir: string): string[] {
	const links = readdirSync('/proc/self/fd').map((fd) => {
		try {
			return readlinkSync(`/proc/self/fd/${fd}`);
		} catch {
			// The descriptor of the listing.
			return '';
		}
	});
	return links.filter((link) => link.startsWith(join(dir, 'streamer-capture-')));
}

test('they are there from the claim to the answer or the end, with mode 0600', async () => {
	for (const answered of [true, false]) {
		const dir = temporaryDirectory();
		const server = await claimed(dir);
		const names = fifosIn(dir);
		const { start } = processOf(process.pid);
		assert.equal(names.sort(), [
			`streamer-capture-${process.pid}-${start}.answer`,
			`streamer-capture-${process.pid}-${start}.question`,
		]);
		for (const name of names) assert.is(statSync(join(dir, name)).mode & 0o777, 0o600);
		assert.is(openFifos(dir).length, 2);
		if (answered) {
			server.finish();
			await run('post-dump', dir).succeeds();
			assert.equal(fifosIn(dir), []);
		}
		await server.close();
		assert.equal(readdirSync(dir), []);
		assert.equal(openFifos(dir), []);
	}
});

test('a streamer of a restore has none', async () => {
	const dir = temporaryDirectory();
	controlServer(dir, 'serve').criuSocketReady();
	await run('pre-stream', dir).succeeds();
	assert.equal(fifosIn(dir), []);
});

test('a CRIU that ends before it connects: the next claim replaces them', async () => {
	const dir = temporaryDirectory();
	controlServer(dir).criuSocketReady();
	const criu = new ActingCriu(dir);
	criu.run('pre-stream');
	await criu.says('pre-stream: 0');
	const first = fifosIn(dir);
	assert.match(first[0]!, new RegExp(`-${criu.child.pid}-`));
	criu.child.kill('SIGKILL');
	await once(criu.child, 'exit');
	await run('pre-stream', dir).succeeds();
	assert.match(fifosIn(dir)[0]!, new RegExp(`-${process.pid}-`));
	assert.is(fifosIn(dir).length, 2);
});

test('those of captures that were killed are removed by the next, and nothing else', async () => {
	const dir = temporaryDirectory();
	const capture = await captureProcess(dir);
	await run('pre-stream', dir).succeeds();
	capture.child.kill('SIGKILL');
	await once(capture.child, 'exit');
	assert.is(fifosIn(dir).length, 2);
	const kept = ['streamer-capture-1-2.question.img', 'streamer-capture-1.question', 'inventory.img'];
	for (const name of [...kept, 'streamer-capture-1-2.question', 'streamer-capture-34-5678.answer'])
		writeFileSync(join(dir, name), '');
	await controlServer(dir).close();
	assert.equal(readdirSync(dir).sort(), kept.sort());
});

test('a question that is none, or only an end: the script is served through Node', async () => {
	for (const bytes of ['finish\n', 'finished\nfinished\n', 'x'.repeat(1000), '']) {
		const dir = temporaryDirectory();
		const server = await claimed(dir);
		const name = fifosIn(dir).find((name) => name.endsWith('.question'))!;
		const fd = openSync(join(dir, name), constants.O_WRONLY | constants.O_NONBLOCK);
		if (bytes) writeSync(fd, bytes);
		closeSync(fd);
		await until('the end of the FIFOs', () => fifosIn(dir).length === 0);
		assert.is(server.givenUp.aborted, false);
		assert.is(server.waiting, 0);
		server.finish();
		await run('post-dump', dir).succeeds();
	}
});

test('in a directory without FIFOs', async () => {
	const dir = temporaryDirectory();
	// This name cannot be removed.
	const { start } = processOf(process.pid);
	mkdirSync(join(dir, `streamer-capture-${process.pid}-${start}.answer`));
	const server = controlServer(dir);
	server.criuSocketReady();
	await run('pre-stream', dir).succeeds();
	assert.equal(openFifos(dir), []);
	server.connected(process.pid);
	server.finish();
	await run('post-dump', dir).succeeds();
	assert.equal(fifosIn(dir), []);
});

test.run();

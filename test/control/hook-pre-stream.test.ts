/** The action script at pre-stream: CRIU continues when the streamer is ready. */
import { readlinkSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/temporary.js';
import { until } from '../support/until.js';
import { pretendCriu, run, Script } from './script.js';
import { asked, controlServer, SOON } from './servers.js';

const test = suite('action script, pre-stream');

test('the streamer is ready', async () => {
	for (const role of ['capture', 'serve'] as const) {
		const dir = temporaryFolder();
		controlServer(dir, role).criuSocketReady();
		await run('pre-stream', dir).succeeds();
	}
});

test('the streamer comes later, and is ready later still', async () => {
	for (const role of ['capture', 'serve'] as const) {
		const dir = temporaryFolder();
		const script = run('pre-stream', dir);
		await until('the script runs', () => isNode(script.child.pid!));
		assert.is(script.ended, false);
		const server = controlServer(dir, role);
		await asked(server);
		assert.is(script.ended, false);
		server.criuSocketReady();
		await script.succeeds();
	}
});

test('a capture and a serve in one directory, one of them ready', async () => {
	const dir = temporaryFolder();
	const serve = controlServer(dir, 'serve');
	controlServer(dir, 'capture').criuSocketReady();
	await run('pre-stream', dir).succeeds();
	assert.is(serve.waiting, 0);
});

test('each side waits for its own streamer', async () => {
	for (const [command, mine, other] of [
		['dump', 'capture', 'serve'],
		['restore', 'serve', 'capture'],
	] as const) {
		const dir = temporaryFolder();
		controlServer(dir, other).criuSocketReady();
		const criu = await pretendCriu(command, dir);
		const script = new Script('pre-stream', criu.imageDir);
		const server = controlServer(dir, mine);
		await asked(server);
		assert.is(script.ended, false);
		server.criuSocketReady();
		await script.succeeds();
	}
});

test('the streamer failed, or died', async () => {
	const dir = temporaryFolder();
	const serve = controlServer(dir, 'serve');
	const script = run('pre-stream', dir);
	await asked(serve);
	serve.fail('the stream is damaged');
	await script.fails(/extract/, /the stream is damaged/);
	await serve.close();

	const capture = controlServer(dir);
	const second = run('pre-stream', dir);
	await asked(capture);
	await capture.close();
	await second.fails(/capture/, /the streamer was stopped/);
});

test('no streamer comes', async () => {
	const dir = temporaryFolder();
	await run('pre-stream', dir, { CRIU_STREAMER_TIMEOUT: SOON }).fails(
		/not ready/,
		/within 0\.2 s/,
		new RegExp(dir),
		/CRIU_STREAMER_TIMEOUT/,
	);
});

function isNode(pid: number): boolean {
	try {
		return readlinkSync(`/proc/${pid}/exe`) === process.execPath;
	} catch {
		return false;
	}
}

test.run();

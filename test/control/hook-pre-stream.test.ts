/** The action script at pre-stream: CRIU continues when the streamer is ready. */
import * as assert from 'uvu/assert';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';
import { isNode, pretendCriu, run, Script } from './script.js';
import { asked, controlServer, SHORT_TIMEOUT } from './servers.js';

const test = suite('action script, pre-stream');

test('the streamer is ready', async () => {
	for (const role of ['capture', 'serve'] as const) {
		const dir = temporaryDirectory();
		controlServer(dir, role).criuSocketReady();
		await run('pre-stream', dir).succeeds();
	}
});

test('the streamer starts later, and is ready even later', async () => {
	for (const role of ['capture', 'serve'] as const) {
		const dir = temporaryDirectory();
		const script = run('pre-stream', dir);
		await until('the script runs', () => isNode(script));
		assert.is(script.ended, false);
		const server = controlServer(dir, role);
		await asked(server);
		assert.is(script.ended, false);
		server.criuSocketReady();
		await script.succeeds();
	}
});

test('a capture and a serve in one directory, one of them ready', async () => {
	const dir = temporaryDirectory();
	const serve = controlServer(dir, 'serve');
	controlServer(dir, 'capture').criuSocketReady();
	await run('pre-stream', dir).succeeds();
	assert.is(serve.waiting, 0);
});

test('each side waits for its own streamer', async () => {
	for (const [command, own, other] of [
		['dump', 'capture', 'serve'],
		['restore', 'serve', 'capture'],
	] as const) {
		const dir = temporaryDirectory();
		controlServer(dir, other).criuSocketReady();
		const criu = await pretendCriu(command, dir);
		const script = new Script('pre-stream', criu.imageDir);
		const server = controlServer(dir, own);
		await asked(server);
		assert.is(script.ended, false);
		server.criuSocketReady();
		await script.succeeds();
	}
});

test('the streamer failed, or died', async () => {
	const dir = temporaryDirectory();
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

test('no streamer starts', async () => {
	const dir = temporaryDirectory();
	await run('pre-stream', dir, { CRIU_STREAMER_TIMEOUT: SHORT_TIMEOUT }).fails(
		/not ready/,
		/within 0\.2 s/,
		new RegExp(dir),
		/CRIU_STREAMER_TIMEOUT/,
	);
});

test.run();

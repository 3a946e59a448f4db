/** The action script at post-dump: the application dies only when the stream is out. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';
import { pretendCriu, run, Script } from './script.js';
import { asked, captureProcess, connected, controlServer, SHORT_TIMEOUT } from './servers.js';

const test = suite('action script, post-dump');

test('the stream is already delivered', async () => {
	const dir = temporaryDirectory();
	const server = connected(dir);
	server.finish();
	await run('post-dump', dir).succeeds();
	await run('post-dump', dir).succeeds();
});

test('waits until the stream is delivered', async () => {
	const dir = temporaryDirectory();
	const server = connected(dir);
	server.criuSocketReady();
	const script = run('post-dump', dir);
	await asked(server);
	assert.is(script.ended, false);
	server.finish();
	await script.succeeds();
	assert.is(server.givenUp.aborted, false);
});

test('a question is answered although the streamer ends right away', async () => {
	for (let i = 0; i < 5; i++) {
		const dir = temporaryDirectory();
		const server = connected(dir);
		const script = run('post-dump', dir);
		await asked(server);
		server.finish();
		await server.close();
		await script.succeeds();
		assert.equal(readdirSync(dir), []);
	}
});

test('the capture failed, before the question or after it', async () => {
	const dir = temporaryDirectory();
	const server = connected(dir);
	const script = run('post-dump', dir);
	await asked(server);
	server.fail('cannot write to stdout: no space left\non device');
	await script.fails(/cannot write to stdout: no space left on device/, /goes on running/);
	await run('post-dump', dir).fails(/no space left/);
	server.finish();
	await run('post-dump', dir).fails(/no space left/);
});

test('a failure after the stream was delivered is ignored', async () => {
	const dir = temporaryDirectory();
	const server = connected(dir);
	server.finish();
	server.fail('too late');
	await run('post-dump', dir).succeeds();
});

test('there is no capture', async () => {
	const dir = temporaryDirectory();
	await run('post-dump', dir).fails(/no capture is in/, new RegExp(dir), /goes on running/);
	// A streamer for a restore does not count.
	controlServer(dir, 'serve').finish();
	await run('post-dump', dir).fails(/no capture is in/);
});

test('the capture died, and left its socket', async () => {
	const dir = temporaryDirectory();
	const capture = await captureProcess(dir);
	const script = run('post-dump', dir);
	await until('a question', () => capture.output.includes('asked'));
	capture.child.kill('SIGKILL');
	await script.fails(/was ended before the stream was out/, /goes on running/);
	assert.is(existsSync(join(dir, 'streamer-capture-control.sock')), true);
	await run('post-dump', dir).fails(/no capture is in/);
	// The next capture takes its place.
	connected(dir).finish();
	await run('post-dump', dir).succeeds();
});

test('a timeout, after which the stream must not be completed', async () => {
	const dir = temporaryDirectory();
	const server = connected(dir);
	await run('post-dump', dir, { CRIU_STREAMER_TIMEOUT: SHORT_TIMEOUT }).fails(
		/not out within 0\.2 s/,
		/CRIU_STREAMER_TIMEOUT/,
		/goes on running/,
	);
	assert.is(server.givenUp.aborted, true);
	assert.match((server.givenUp.reason as Error).message, /the application runs on/);
	assert.throws(() => server.finish(), /the application runs on/);
	await run('post-dump', dir).fails(/the application runs on/);
});

test('a script that is killed gives up, too', async () => {
	const dir = temporaryDirectory();
	const server = connected(dir);
	const script = run('post-dump', dir);
	await asked(server);
	script.child.kill('SIGKILL');
	await until('the server notices', () => server.givenUp.aborted);
	assert.throws(() => server.finish(), /the application runs on/);
});

test('CRIU dies while its script waits', async () => {
	for (const action of ['pre-stream', 'post-dump']) {
		const dir = temporaryDirectory();
		const server = connected(dir);
		const criu = await pretendCriu('dump', dir);
		const script = new Script(action, criu.imageDir);
		await asked(server);
		criu.child.kill('SIGKILL');
		await script.fails(/before CRIU was gone/);
		assert.is(server.givenUp.aborted, action === 'post-dump');
	}
});

test.run();

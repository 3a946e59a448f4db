/** Answers about one dump are not given to the scripts of another. This process acts as CRIU for the scripts that it starts. */
import { spawn } from 'node:child_process';
import * as assert from 'uvu/assert';
import type { ControlServer } from '../../src/control/server.js';
import { afterwards } from '../support/cleanup.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { run } from './script.js';
import { asked, controlServer } from './servers.js';

const test = suite('action scripts of others');

function streamer(): { server: ControlServer; dir: string } {
	const dir = temporaryDirectory();
	return { server: controlServer(dir), dir };
}

/** A process that is unrelated to the scripts. */
function other(): number {
	const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
	afterwards(() => child.kill('SIGKILL'));
	return child.pid!;
}

/** Whether the promise has resolved by now. */
async function resolved(promise: Promise<void>): Promise<boolean> {
	return Promise.race([promise.then(() => true), new Promise<false>((no) => setImmediate(no, false))]);
}

test('pre-stream: refused at once, naming the CRIU that is served', async () => {
	const { server, dir } = streamer();
	const pid = other();
	server.connected(pid);
	server.criuSocketReady();
	const reason = new RegExp(
		`serves the dump of process ${pid} \\(sleep 1000\\): .*another work directory \\(--work-dir\\)`,
	);
	await run('pre-stream', dir).fails(reason);
	assert.is(server.hasScriptOf(pid), false);
});

test('pre-stream: the script is assigned to the CRIU that connects later', async () => {
	const { server, dir } = streamer();
	server.criuSocketReady();
	await run('pre-stream', dir).succeeds();
	assert.is(server.hasScriptOf(process.pid), false, 'it is not connected');
	server.connected(process.pid);
	assert.is(server.hasScriptOf(process.pid), true);
	assert.is(await resolved(server.finishedAsked), false);
});

test('post-dump: refused, naming the CRIU that is served, although the stream of that CRIU is delivered', async () => {
	const { server, dir } = streamer();
	const pid = other();
	server.connected(pid);
	const reason = new RegExp(`serves the dump of process ${pid} \\(sleep 1000\\)`);
	await run('post-dump', dir).fails(reason, /goes on running/);
	server.finish();
	await run('post-dump', dir).fails(reason, /goes on running/);
	assert.is(await resolved(server.finishedAsked), false);
	assert.is(server.givenUp.aborted, false);
});

test('post-dump before the connection is accepted: the script waits, and is then answered or refused', async () => {
	for (const own of [true, false]) {
		const { server, dir } = streamer();
		const script = run('post-dump', dir);
		await asked(server);
		server.connected(own ? process.pid : other());
		assert.is(await resolved(server.finishedAsked), own);
		assert.is(server.waiting, own ? 1 : 0);
		server.finish();
		await (own ? script.succeeds() : script.fails(/serves the dump of process/, /goes on running/));
	}
});

test('post-dump: a script that gave up before the connection is accepted affects only its own dump', async () => {
	for (const own of [true, false]) {
		const { server, dir } = streamer();
		await run('post-dump', dir, { CRIU_STREAMER_TIMEOUT: '0.2' }).fails(/not out within 0\.2 s/);
		assert.is(server.givenUp.aborted, false);
		server.connected(own ? process.pid : other());
		assert.is(server.givenUp.aborted, own);
	}
});

test.run();

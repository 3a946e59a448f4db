/**
 * The action script at post-dump over the FIFOs that a capture has made at pre-stream: Node is started only where the answer
 * is not that the stream is delivered. This process acts as CRIU for the scripts that it starts.
 */
import {
	chownSync,
	closeSync,
	existsSync,
	mkdirSync,
	openSync,
	readFileSync,
	symlinkSync,
	writeFileSync,
	writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { processOf } from '../../src/control/lineage.js';
import { fifoNames } from '../../src/control/paths.js';
import { mkfifo } from '../../src/libc/calls.js';
import { throwIfError } from '../../src/libc/errno.js';
import { afterwards } from '../support/cleanup.js';
import { HOOK } from '../support/streamer.js';
import { skipImpossible, suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { tool } from '../support/tools.js';
import { until } from '../support/until.js';
import { ActingCriu, imageDir, isNode, run, Script, withoutNode, withProgram } from './script.js';
import { asked, captureProcess, claimed, connected, controlServer, fifosIn } from './servers.js';

const test = suite('action script, post-dump without Node');

test('the stream is delivered, before the question or after it', async () => {
	for (const late of [false, true]) {
		const dir = temporaryDirectory();
		const server = await claimed(dir);
		const { env, started } = withoutNode();
		if (!late) server.finish();
		const script = run('post-dump', dir, env);
		if (late) {
			await asked(server);
			assert.is(script.ended, false);
			server.finish();
		}
		await server.finishedAsked;
		await script.succeeds();
		assert.is(started(), false);
		assert.is(server.givenUp.aborted, false);
		// A second script of the same CRIU asks on the socket.
		await run('post-dump', dir).succeeds();
	}
});

test('the answer is given although the streamer ends right away', async () => {
	const dir = temporaryDirectory();
	const server = await claimed(dir);
	const script = run('post-dump', dir, withoutNode().env);
	await asked(server);
	server.finish();
	await server.close();
	await script.succeeds();
});

test('the connection is accepted after the question', async () => {
	const dir = temporaryDirectory();
	const server = controlServer(dir);
	server.criuSocketReady();
	await run('pre-stream', dir).succeeds();
	const script = run('post-dump', dir, withoutNode().env);
	await asked(server);
	server.connected(process.pid);
	await server.finishedAsked;
	server.finish();
	await script.succeeds();
});

const shells = {
	dash: () => tool('dash'),
	bash: () => `${tool('bash')} --posix`,
	busybox: () => `${tool('busybox')} sh`,
};
for (const [name, shell] of Object.entries(shells)) {
	test(`in ${name}`, async () => {
		const copy = temporaryDirectory();
		const path = join(copy, 'scripts/criu-streamer-hook');
		mkdirSync(dirname(path));
		symlinkSync(join(dirname(HOOK), '../dist'), join(copy, 'dist'));
		writeFileSync(path, readFileSync(HOOK, 'utf8').replace('/bin/sh', shell()), { mode: 0o755 });
		const dir = temporaryDirectory();
		const server = await claimed(dir);
		server.finish();
		await new Script('post-dump', imageDir(dir), withoutNode().env, path).succeeds();

		const slow = temporaryDirectory();
		const other = await claimed(slow);
		const script = new Script('post-dump', imageDir(slow), {}, path);
		await until('Node', () => isNode(script));
		other.finish();
		await script.succeeds();
		assert.is(other.givenUp.aborted, false);

		const failed = temporaryDirectory();
		(await claimed(failed)).fail('disk full');
		await new Script('post-dump', imageDir(failed), {}, path).fails(/disk full/, /goes on running/);
	});
}

test('the capture fails, before the question or after it, or is closed: the script says why', async () => {
	for (const when of ['before', 'after', 'closed']) {
		const dir = temporaryDirectory();
		const server = await claimed(dir);
		if (when === 'before') server.fail('disk full');
		const script = run('post-dump', dir);
		if (when !== 'before') await asked(server);
		if (when === 'after') server.fail('disk full');
		if (when === 'closed') await server.close();
		await script.fails(when === 'closed' ? /the streamer was stopped/ : /disk full/, /goes on running/);
		await server.close();
		assert.equal(fifosIn(dir), []);
	}
});

test('the capture is killed while the script waits, or before', async () => {
	const dir = temporaryDirectory();
	const capture = await captureProcess(dir);
	await run('pre-stream', dir).succeeds();
	const script = run('post-dump', dir);
	await until('a question', () => capture.output.includes('asked'));
	capture.child.kill('SIGKILL');
	await script.fails(/was ended before the stream was out/, /goes on running/);
	assert.is(fifosIn(dir).length, 2, 'it was killed');
	await run('post-dump', dir).fails(/was ended before the stream was out/, /goes on running/);
	// The next capture has made none for this script.
	connected(dir).finish();
	assert.equal(fifosIn(dir), []);
	await run('post-dump', dir).succeeds();
});

test('FIFOs of another user are not asked', async () => {
	if (process.getuid!() !== 0) skipImpossible('only root can make files of another user');
	const dir = temporaryDirectory();
	for (const name of Object.values(fifoNames(processOf(process.pid)))) {
		const path = join(dir, name);
		throwIfError(mkfifo(path, 0o600), 'mkfifo');
		chownSync(path, 65534, 65534);
		const fd = openSync(path, 'r+');
		afterwards(() => closeSync(fd));
		writeSync(fd, 'done\n');
	}
	await run('post-dump', dir).fails(/no capture is in/, /goes on running/);
});

test('the capture is stopped: the script gives up in time', async () => {
	const dir = temporaryDirectory();
	const capture = await captureProcess(dir);
	await run('pre-stream', dir).succeeds();
	capture.child.kill('SIGSTOP');
	await run('post-dump', dir, { CRIU_STREAMER_TIMEOUT: '2' }).fails(/not out within 2 s/, /goes on running/);
});

test('a stream that is slow is left to Node, and not given up', async () => {
	const dir = temporaryDirectory();
	const server = await claimed(dir);
	const script = run('post-dump', dir);
	await until('Node asks as well', () => server.waiting === 2);
	assert.is(isNode(script), true);
	server.finish();
	await script.succeeds();
	assert.is(server.givenUp.aborted, false);
});

test('with every signal blocked or ignored the script waits no longer', async () => {
	for (const option of ['--block-signal', '--ignore-signal']) {
		const dir = temporaryDirectory();
		const server = await claimed(dir);
		const { directory } = withProgram('hook', `exec env ${option} '${HOOK}'`);
		const script = new Script('post-dump', imageDir(dir), {}, join(directory, 'hook'));
		await until('Node asks as well', () => server.waiting === 2);
		server.finish();
		await script.succeeds();
	}
});

test('a timeout is one of both waits together', async () => {
	const dir = temporaryDirectory();
	const server = await claimed(dir);
	await run('post-dump', dir, { CRIU_STREAMER_TIMEOUT: '2' }).fails(/not out within 2 s/);
	assert.is(server.givenUp.aborted, true);
	assert.throws(() => server.finish(), /the application runs on/);
});

test('a timeout that is short, not an integer or wrong is left to Node from the beginning', async () => {
	for (const seconds of ['0.2', '1', '2.5', '07', '1e3', '2147483', 'ten', '-5']) {
		const dir = temporaryDirectory();
		(await claimed(dir)).finish();
		const { env, started } = withoutNode();
		await run('post-dump', dir, { ...env, CRIU_STREAMER_TIMEOUT: seconds }).end;
		assert.is(started(), true, seconds);
	}
});

test('without a working timeout(1) the script asks through Node', async () => {
	const dir = temporaryDirectory();
	(await claimed(dir)).finish();
	const { env } = withProgram('timeout', 'echo "no such thing" >&2; exit 127');
	await run('post-dump', dir, env).succeeds();
});

test('a script that is killed gives up, before Node and after it', async () => {
	for (const node of [false, true]) {
		const dir = temporaryDirectory();
		const server = await claimed(dir);
		const script = run('post-dump', dir);
		await asked(server);
		if (node) await until('Node', () => isNode(script));
		script.child.kill('SIGKILL');
		await until('the server notices', () => server.givenUp.aborted);
		assert.throws(() => server.finish(), /the application runs on/);
	}
});

test('CRIU dies while its script waits', async () => {
	const dir = temporaryDirectory();
	const server = controlServer(dir);
	server.criuSocketReady();
	const criu = new ActingCriu(dir);
	criu.run('pre-stream');
	await criu.says('pre-stream: 0\n');
	server.connected(criu.child.pid!);
	criu.run('post-dump');
	await asked(server);
	criu.child.kill('SIGKILL');
	await criu.says('goes on running\n');
	assert.match(criu.output, /^pre-stream: 0\ncriu-image-streamer: [^\n]*before CRIU was gone[^\n]*\n$/);
	await until('the server notices', () => server.givenUp.aborted);
});

test('another CRIU is connected: the script is refused, although that stream is delivered', async () => {
	const dir = temporaryDirectory();
	const server = controlServer(dir);
	server.criuSocketReady();
	await run('pre-stream', dir).succeeds();
	server.connected(new ActingCriu(dir).child.pid!);
	await run('post-dump', dir).fails(/serves the dump of process/, /goes on running/);
	server.finish();
	await run('post-dump', dir).fails(/serves the dump of process/, /goes on running/);
	assert.is(server.givenUp.aborted, false);
});

test('the FIFOs of one CRIU do not answer the script of another', async () => {
	const dir = temporaryDirectory();
	const server = await claimed(dir);
	server.finish();
	const criu = new ActingCriu(dir);
	criu.run('post-dump');
	await criu.says('post-dump: ');
	// It descends from this process, and so is served: but through Node, and the FIFOs are unused.
	assert.is(fifosIn(dir).length, 2);
});

test('an images directory that is named by its path has no FIFOs', async () => {
	const dir = temporaryDirectory();
	(await claimed(dir)).finish();
	const { env, started } = withoutNode();
	await new Script('post-dump', dir, env).end;
	assert.is(started(), true);
	assert.is(existsSync(join(dir, 'streamer-capture-control.sock')), true);
});

test.run();

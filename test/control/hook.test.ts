/** The action script as a program: where it is found, what it is given, and what it needs. It is run as CRIU runs it. */
import { copyFileSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { HOOK } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { imageDir, run, Script, withoutNode } from './script.js';
import { connected } from './servers.js';

const test = suite('action script');

test('other actions end at once, without starting Node', async () => {
	const dir = temporaryDirectory();
	const { env, started } = withoutNode();
	for (const action of ['pre-dump', 'network-lock', 'network-unlock', 'setup-namespaces', 'post-restore']) {
		await new Script(action, imageDir(dir), env).succeeds();
	}
	assert.is(started(), false);
	assert.is((await new Script('post-dump', imageDir(dir), env).end).code, 3);
	assert.is(started(), true, 'this test would have noticed a Node');
});

test('started by hand, the script fails with a hint to --action-script', async () => {
	const { code, stderr } = await new Script(undefined, '').end;
	assert.is(code, 2);
	assert.match(stderr, /^criu-image-streamer: [^\n]*--action-script[^\n]*\n$/);
});

test('a timeout that is not a number', async () => {
	for (const seconds of ['0', '-1', 'ten', '1e300', 'NaN', '0.0009', '2147483.001']) {
		const dir = temporaryDirectory();
		connected(dir).finish();
		await run('post-dump', dir, { CRIU_STREAMER_TIMEOUT: seconds }).fails(
			/CRIU_STREAMER_TIMEOUT=.* is not a number of seconds from 0\.001 to 2147483/,
		);
	}
});

test('the longest timeout', async () => {
	const dir = temporaryDirectory();
	connected(dir).finish();
	await run('post-dump', dir, { CRIU_STREAMER_TIMEOUT: '2147483' }).succeeds();
});

test('a directory with a long path, and one with spaces', async () => {
	for (const name of ['x'.repeat(200), 'a b  c']) {
		const dir = join(temporaryDirectory(), name, 'y'.repeat(60));
		mkdirSync(dir, { recursive: true });
		const server = connected(dir);
		server.finish();
		server.criuSocketReady();
		await run('pre-stream', dir).succeeds();
		await run('post-dump', dir).succeeds();
		// Also where the directory is given by its path.
		await new Script('post-dump', dir).succeeds();
	}
});

test('started through links, as npm makes them, with Node beside them', async () => {
	const prefix = temporaryDirectory();
	const bin = join(prefix, 'a bin');
	mkdirSync(bin);
	symlinkSync(HOOK, join(prefix, 'first'));
	symlinkSync('../first', join(bin, 'criu-streamer-hook'));
	symlinkSync(process.execPath, join(bin, 'node'));
	const dir = temporaryDirectory();
	connected(dir).finish();
	const env = { PATH: '/nowhere', NODE_OPTIONS: '--require /nowhere.js' };
	await new Script('post-dump', imageDir(dir), env, join(bin, 'criu-streamer-hook')).succeeds();
});

test('a package without its build', async () => {
	const broken = join(temporaryDirectory(), 'scripts');
	mkdirSync(broken);
	const path = join(broken, 'criu-streamer-hook');
	copyFileSync(HOOK, path);
	await new Script('post-dump', imageDir(broken), {}, path).fails(
		/dist\/hook\.js is not there/,
		/npm run build/,
	);
});

test.run();

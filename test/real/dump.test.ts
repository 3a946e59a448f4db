/** Uses of CRIU besides a plain dump and restore. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { freePort } from '../support/free-port.js';
import { HOOK } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { until } from '../support/until.js';
import { criuOrSkip } from './programs.js';
import { Scene } from './scene.js';

const test = suite('real CRIU, ways to dump');

const STREAM = 'criu-image-streamer capture -W src | criu-image-streamer extract -W dst';

test('an application that runs on after its dump', async () => {
	const scene = new Scene();
	const application = await scene.start('threads', 48, 2);
	const stream = scene.shell(STREAM);
	await scene.dump(application, stream, 'src', '--leave-running');
	await application.verify();
	await application.verify();
	// The image was dumped before the two checks, which rewrite all memory.
	await application.backToDump();
	await scene.restore(stream);
	await stream.ends();
	await application.verify();
	assert.match(application.lines().at(-1)!, /^1:/);
});

for (const release of ['sid', 'experimental'] as const) {
	test(`with the action script, and the streamers started last, CRIU of ${release}`, async () => {
		const scene = new Scene(criuOrSkip(release));
		const application = await scene.start('threads', 48, 1);
		scene.makeDirectories('src', 'dst');
		// CRIU writes no log before it has its images directory.
		const script = `--action-script ${scene.script(`touch asked-$CRTOOLS_SCRIPT_ACTION; exec ${HOOK}`)}`;
		const dump = scene.criuCommand('dump', 'src', '--stream', `-t ${application.pid}`, script);
		await until('the action script', () => existsSync(join(scene.directory, 'asked-pre-stream')));
		const stream = scene.shell(STREAM);
		await dump.ends();
		assert.ok(existsSync(join(scene.directory, 'asked-post-dump')));
		await application.gone();
		await scene.restore(stream, 'dst', script);
		await stream.ends();
		await application.verify();
	});
}

test('with the action script, the application lives after a dump whose image is lost', async () => {
	const scene = new Scene();
	const application = await scene.start('threads', 48, 1);
	const capture = scene.shell('criu-image-streamer capture -W src | head -c 10000000 >/dev/null');
	await scene.socket('src', 'capture', capture);
	const dump = scene.criuCommand(
		'dump',
		'src',
		'--stream',
		`-t ${application.pid}`,
		`--action-script ${HOOK}`,
	);
	await until('the end of the dump', () => dump.code !== undefined);
	assert.is.not(dump.code, 0);
	await capture.ends(1);
	await application.verify();
});

test('a lazy dump: the image is complete while CRIU is still serving pages, with its socket open', async () => {
	const scene = new Scene();
	const application = await scene.start('threads', 48, 1);
	const stream = scene.shell(STREAM);
	await scene.socket('src', 'capture', stream);
	const lazy = `--lazy-pages --address 127.0.0.1 --port ${await freePort()}`;
	const dump = scene.criuCommand('dump', 'src', '--stream', `-t ${application.pid}`, lazy);
	await scene.socket('dst', 'serve', stream);
	assert.is(dump.code, undefined, scene.log('src', 'dump'));
});

test('criu cpuinfo dump', async () => {
	const scene = new Scene();
	const stream = scene.shell('criu-image-streamer capture -W src | criu-image-streamer extract -D disk');
	await scene.socket('src', 'capture', stream);
	await scene.run('cpuinfo dump', 'src', '--stream');
	await stream.ends();
	assert.equal(scene.images(), ['disk/cpuinfo.img']);
	assert.not.match(stream.messages(), /checkpoint-start/);
	await scene.run('cpuinfo check', 'disk');
});

test('a dump that fails is a failed stream', async () => {
	const scene = new Scene();
	const stream = scene.shell('criu-image-streamer capture -W src | criu-image-streamer extract -W dst');
	await scene.socket('src', 'capture', stream);
	// No process has this pid: the maximum in Linux is 4194304.
	const dump = scene.criuCommand('dump', 'src', '--stream', '-t 4194305');
	await until('the end of the dump', () => dump.code !== undefined);
	assert.is.not(dump.code, 0);
	await stream.ends(1);
	assert.not.ok(existsSync(join(scene.directory, 'dst', 'streamer-serve.sock')), 'nothing is served');
});

test.run();

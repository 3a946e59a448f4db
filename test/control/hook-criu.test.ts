/** The action script with a real CRIU: the application lives unless its image is complete. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { Application } from '../real/application.js';
import { type Command, Scene } from '../real/scene.js';
import { HOOK } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { until } from '../support/until.js';
import { controlServer } from './servers.js';

const test = suite('action script, real CRIU', { together: 2 });

function dump(scene: Scene, application: Application, directory: string, ...args: string[]): Command {
	return scene.criuCommand('dump', directory, `-t ${application.pid}`, `--action-script ${HOOK}`, ...args);
}

/** The dump fails for `reason`, and the application is unchanged. */
async function fails(
	scene: Scene,
	directory: string,
	command: Command,
	application: Application,
	reason: RegExp,
) {
	await until('the end of the dump', () => command.code !== undefined);
	assert.is.not(command.code, 0);
	assert.match(scene.log(directory, 'dump'), reason);
	await application.verify();
}

test('CRIU acts on the answer of the streamer', async () => {
	const scene = new Scene();
	const application = await scene.start('threads', 8, 1);
	scene.makeDirectories('absent', 'failed', 'fine');
	const streamer = (directory: string) => controlServer(join(scene.directory, directory));
	const alone = dump(scene, application, 'absent');
	await fails(scene, 'absent', alone, application, /criu-image-streamer: no capture is in .*goes on running/);

	const server = streamer('failed');
	const refused = dump(scene, application, 'failed');
	server.connected(refused.process.pid!);
	await until('the question', () => server.waiting > 0);
	server.fail('no space left on device');
	await fails(scene, 'failed', refused, application, /no space left on device/);

	const other = streamer('fine');
	const last = dump(scene, application, 'fine');
	other.connected(last.process.pid!);
	await until('the question', () => other.waiting > 0);
	assert.is(application.exists(), true);
	other.finish();
	await last.ends();
	await application.gone();
});

test('Node is started at pre-stream only, before anything is frozen', async () => {
	const scene = new Scene();
	const application = await scene.start('threads', 8, 1);
	mkdirSync(join(scene.directory, 'bin'));
	const node = `#!/bin/sh\necho "$CRTOOLS_SCRIPT_ACTION" >>${scene.directory}/started\nexec '${process.execPath}' "$@"\n`;
	writeFileSync(join(scene.directory, 'bin/node'), node, { mode: 0o755 });
	const capture = scene.shell('criu-image-streamer capture -W src >image');
	await scene.socket('src', 'capture', capture);
	const command = scene.shell(
		`PATH="$PWD/bin:$PATH" exec "$criu" dump -D src -v4 -o dump.log --stream -t ${application.pid} --action-script ${HOOK}`,
	);
	await command.ends();
	await capture.ends();
	await application.gone();
	assert.is(readFileSync(join(scene.directory, 'started'), 'utf8'), 'pre-stream\n');
});

test('a script that gives up: the application lives, and the stream, read later, is not a complete image', async () => {
	const scene = new Scene();
	const application = await scene.start('threads', 8, 1);
	// It reads nearly everything, so that CRIU gets to its end, and then pauses until the dump has failed.
	const reader = 'head -c 8300000 >image; until [ -e go ]; do sleep 0.02; done; cat >>image';
	const capture = scene.shell(`criu-image-streamer capture -W src | { ${reader}; }`);
	await scene.socket('src', 'capture', capture);
	const late = scene.shell(
		`CRIU_STREAMER_TIMEOUT=0.5 exec "$criu" dump -D src -v4 -o dump.log --stream -t ${application.pid} ` +
			`--action-script ${HOOK}`,
	);
	await fails(scene, 'src', late, application, /not out within 0\.5 s, and is given up/);
	await scene.shell('touch go').ends();
	await capture.ends(1);
	assert.match(capture.messages(), /the action script ended before the stream was out/);
	await scene.shell('criu-image-streamer extract -D disk <image').ends(1);
	assert.equal(scene.images(), []);
});

test('a capture that is killed while the script waits', async () => {
	const scene = new Scene();
	const application = await scene.start('threads', 8, 1);
	const capture = scene.shell(
		'{ echo $BASHPID >pid; exec criu-image-streamer capture -W src; } | { head -c 8300000 >image; sleep 1000; }',
	);
	await scene.socket('src', 'capture', capture);
	const command = dump(scene, application, 'src', '--stream');
	await until('the script', () => scene.log('src', 'dump').includes('Running post-dump scripts'));
	process.kill(Number(readFileSync(join(scene.directory, 'pid'), 'utf8')), 'SIGKILL');
	await fails(scene, 'src', command, application, /criu-image-streamer: .*goes on running/);
	assert.is(existsSync(join(scene.directory, 'src/streamer-capture-control.sock')), true, 'it was killed');
});

const deaths: Record<string, string> = {
	'is killed': 'kill -9 $$',
	'cannot be started': 'exit 127',
	'finds that CRIU is killed': 'kill -9 $PPID; while [ -e $CRTOOLS_IMAGE_DIR ]; do :; done',
};
for (const [how, death] of Object.entries(deaths)) {
	test(`a script that ${how} before it asks: the stream has no end`, async () => {
		const scene = new Scene();
		const application = await scene.start('threads', 8, 1);
		mkdirSync(join(scene.directory, 'bin'));
		const script = join(scene.directory, 'bin/criu-streamer-hook');
		const text = `#!/bin/sh\n[ $CRTOOLS_SCRIPT_ACTION != post-dump ] || { ${death}; }\nexec '${HOOK}'\n`;
		writeFileSync(script, text, { mode: 0o755 });
		const stream = scene.shell(
			'criu-image-streamer -v3 capture -W src >image; code=$?; criu-image-streamer extract -D disk <image; exit $code',
		);
		await scene.socket('src', 'capture', stream);
		const dumping = scene.criuCommand(
			'dump',
			'src',
			'--stream',
			`-t ${application.pid}`,
			`--action-script ${script}`,
		);
		await until('the end of the dump', () => dumping.code !== undefined);
		assert.is.not(dumping.code, 0);
		await stream.ends(1);
		assert.match(stream.messages(), /moving pages without a copy/);
		assert.match(stream.messages(), /CRIU ended before its action script asked/);
		assert.equal(scene.images(), []);
		await application.verify();
	});
}

test.run();

/** With the action script no application dies when its image is lost, wherever in transit that happens. */
import { spawnSync } from 'node:child_process';
import {
	chmodSync,
	existsSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	statSync,
	writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { type Command, Scene } from '../real/scene.js';
import { afterwards } from '../support/cleanup.js';
import { HOOK } from '../support/streamer.js';
import { skipImpossible, suite } from '../support/suite.js';
import { need, tool } from '../support/tools.js';
import { until } from '../support/until.js';
import { MEGABYTES } from './generations.js';

const test = suite('lost', { together: 3 });
const MB = 1 << 20;
const capture = 'criu-image-streamer capture -W src';
const extract = 'criu-image-streamer extract';

/**
 * Dumps into `stream`, which loses the image, or lets `harm` do so when the dump has begun. Checks that the application is
 * unchanged, and can be dumped once more.
 */
async function survives(
	stream: string,
	harm?: (scene: Scene, command: Command) => Promise<void>,
	scene = new Scene(),
) {
	const application = await scene.start('generations', MEGABYTES);
	const command = scene.shell(stream);
	await scene.socket('src', 'capture', command);
	const script = ['--action-script', HOOK];
	const dump = scene.criuCommand('dump', 'src', '--stream', `-t ${application.pid}`, ...script);
	await harm?.(scene, command);
	await until('the end of the dump', () => dump.code !== undefined);
	assert.is.not(dump.code, 0, 'the dump failed');
	await until('the end of the streamer', () => command.code !== undefined);
	assert.is.not(command.code, 0, 'the stream failed');
	assert.match(command.messages(), /^criu-image-streamer: /m);
	await application.verify();
	await application.verify();
	return { scene, application, command };
}

function sockets(scene: Scene): string[] {
	return readdirSync(join(scene.directory, 'src')).filter((name) => name.endsWith('.sock'));
}

/** The number of bytes of the stream of such a dump. */
let size: number | undefined;
async function sizeOfStream(): Promise<number> {
	if (size !== undefined) return size;
	const scene = new Scene();
	const application = await scene.start('generations', MEGABYTES);
	const command = scene.shell(`${capture} | cat >image`);
	await scene.dump(application, command, 'src', '--leave-running');
	await command.ends();
	application.end();
	size = statSync(join(scene.directory, 'image')).size;
	return size;
}

for (const [where, at] of Object.entries({
	'at 1 %': (all: number) => all / 100,
	'at 50 %': (all: number) => all / 2,
	'at 99 %': (all: number) => all * 0.99,
	'in the last megabyte': (all: number) => all - MB / 2,
	// Everything is in the pipe by then.
	'in the last 64 KiB': (all: number) => all - 64 * 1024,
})) {
	test(`the reader dies ${where}`, async () => {
		const bytes = Math.floor(at(await sizeOfStream()));
		// head reads in small pieces, and never more than requested.
		const { scene } = await survives(`${capture} | head -c ${bytes} | cat >/dev/null`);
		assert.equal(sockets(scene), [], 'no socket is left');
	});
}

test('one of three shards dies', async () => {
	await survives(
		`mkfifo x y z; head -c 3000000 <x >a & cat <y >b & cat <z >c & ${capture} -s 10,11,12 10>x 11>y 12>z; ` +
			`code=$?; wait; ${extract} -s 10,11,12 -D disk 10<a 11<b 12<c; [ $? = 1 ] || exit 0; exit $code`,
	);
});

/** Mounts a file system of `bytes` bytes in the directory `small`. */
function mountSmall(scene: Scene, bytes: number): void {
	const directory = join(scene.directory, 'small');
	mkdirSync(directory);
	const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', directory]);
	if (mounted.status !== 0) skipImpossible('this machine does not permit to mount a tmpfs');
	afterwards(() => spawnSync('umount', ['-l', directory]));
}

for (const [where, missing] of Object.entries({
	'half way': 32 * MB,
	'in the last megabyte': MB / 2,
})) {
	test(`the disk with the stream is full ${where}`, async () => {
		const scene = new Scene();
		mountSmall(scene, (await sizeOfStream()) - missing);
		const { command } = await survives(`${capture} >small/image`, undefined, scene);
		assert.match(command.messages(), /no space/);
	});

	test(`the disk with the files is full ${where}`, async () => {
		const scene = new Scene();
		mountSmall(scene, (await sizeOfStream()) - missing);
		const { command } = await survives(`${capture} | ${extract} -D small/disk`, undefined, scene);
		assert.match(command.messages(), /no space/);
		assert.equal(readdirSync(join(scene.directory, 'small/disk')), [], 'nothing is left half-written');
	});
}

/** Kills the process whose id a command of the scene has written to the file `name`. */
async function killNoted(scene: Scene, name: string): Promise<void> {
	const path = join(scene.directory, name);
	const pid = await until(
		`the process in ${name}`,
		() => existsSync(path) && Number(readFileSync(path, 'utf8')),
	);
	process.kill(pid as number, 'SIGKILL');
}

/** Resolves when the file `name` has `bytes` bytes. */
async function arrived(scene: Scene, name: string, bytes: number): Promise<void> {
	const path = join(scene.directory, name);
	await until(`${bytes} bytes in ${name}`, () => existsSync(path) && statSync(path).size >= bytes);
}

test('the capture is killed in the middle, and the next one takes its place', async () => {
	const noted = `bash -c 'echo $$ >pid; exec ${capture}'`;
	const { scene, application } = await survives(
		`${noted} | pv -qL 20m | tee image | ${extract} -W dst`,
		async (scene) => {
			await arrived(scene, 'image', 5 * MB);
			await killNoted(scene, 'pid');
		},
	);
	const command = scene.shell(`${capture} | ${extract} -D disk`);
	await until('its socket', () => /socket-init/.test(command.messages()));
	await scene.dump(application, command, 'src', '--action-script', HOOK);
	await command.ends();
	assert.equal(sockets(scene), []);
});

test('a filter between is killed in the middle', async () => {
	const filter = `bash -c 'echo $$ >pid; exec pv -qL 20m'`;
	await survives(`${capture} | ${filter} | tee image | ${extract} -W dst`, async (scene) => {
		await arrived(scene, 'image', 5 * MB);
		await killNoted(scene, 'pid');
	});
});

/** An ssh to this machine without a listening server: sshd is connected by its stdin and stdout. */
function makeSsh(scene: Scene): string {
	const path = (name: string) => join(scene.directory, name);
	need('ssh', 'ssh-keygen');
	const sshd = tool('sshd');
	// sshd requires this directory, and creates no files in it.
	mkdirSync('/run/sshd', { recursive: true });
	for (const name of ['host', 'user']) {
		const made = spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path(name)]);
		assert.is(made.status, 0, String(made.stderr));
	}
	writeFileSync(
		path('sshd_config'),
		[
			`HostKey ${path('host')}`,
			`AuthorizedKeysFile ${path('user.pub')}`,
			'StrictModes no',
			'UsePAM no',
			'PermitRootLogin yes',
		].join('\n'),
	);
	writeFileSync(
		path('ssh'),
		`#!/bin/sh\nexec ssh -q -F none -i ${path('user')} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no ` +
			`-o UserKnownHostsFile=/dev/null -o 'ProxyCommand ${sshd} -i -f ${path('sshd_config')}' localhost "$@"\n`,
	);
	chmodSync(path('ssh'), 0o755);
	return './ssh';
}

test('ssh is killed in the middle', async () => {
	const scene = new Scene();
	const ssh = makeSsh(scene);
	const stream = `${capture} | bash -c 'echo $$ >pid; exec ${ssh} "${tool('pv')} -qL 20m | tee ${scene.directory}/image >/dev/null"'`;
	await survives(
		stream,
		async () => {
			await arrived(scene, 'image', 5 * MB);
			await killNoted(scene, 'pid');
		},
		scene,
	);
});

test('nothing is lost: the application ends, and there is no error', async () => {
	const scene = new Scene();
	const application = await scene.start('generations', MEGABYTES);
	const command = scene.shell(`${capture} | ${extract} -D disk`);
	await scene.dump(application, command, 'src', '--action-script', HOOK);
	await command.ends();
	await scene.run('restore', 'disk', '-d');
	await application.verify();
});

test.run();

// A side that listens is ready when the other side can connect: --daemon returns then, and --status-fd gets its NUL.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { appears, CAPTURE, ends, processOf, SERVE } from '../daemon/service.js';
import { content } from '../support/content.js';
import { pipe } from '../support/pipe.js';
import { namesIn, StandInDump, StandInRestore } from '../support/stand-in.js';
import { ours, Streamer } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';

const test = suite('a daemon that listens');
const image = { 'pages-1.img': content(1, 2_000_000) };
const service = ['--daemon', '--pidfile', 'pid', '--log-file', 'log', '--listen', 'unix:socket'];

/** Starts a command that listens at `socket` in `cwd`, with `work` as work dir; resolves when --daemon has returned. */
async function listens(cwd: string, work: string, ...command: string[]): Promise<number> {
	const foreground = new Streamer(['-W', work, ...service, ...command], { cwd });
	assert.is(await foreground.ends(), '');
	return processOf(join(cwd, work, 'pid'));
}

function connects(cwd: string, work: string, ...command: string[]): Streamer {
	return new Streamer(['-W', work, '--connect', 'unix:socket', ...command], { cwd });
}

const textOf = (cwd: string, work: string) => readFileSync(join(cwd, work, 'log'), 'utf8');

test('extract returns when it listens, and replays the received image', async () => {
	const cwd = temporaryDirectory();
	const receiver = await listens(cwd, 'to', 'extract');
	assert.not(namesIn(join(cwd, 'to')).includes(SERVE), 'CRIU cannot connect yet');
	assert.not.match(textOf(cwd, 'to'), /socket-init/);
	const sender = connects(cwd, 'from', 'capture');
	await (await StandInDump.connect({ work: join(cwd, 'from'), process: sender })).finish(image);
	await sender.ends();
	await appears(join(cwd, 'to'), SERVE);
	await until('the progress line', () => /^socket-init$/m.test(textOf(cwd, 'to')));
	const restore = await StandInRestore.connect(join(cwd, 'to'));
	assert.ok((await restore.read('pages-1.img'))?.equals(image['pages-1.img']));
	restore.close();
	await ends(receiver);
	assert.equal(namesIn(join(cwd, 'to')), ['log']);
});

test('extract to disk returns when it listens', async () => {
	const cwd = temporaryDirectory();
	const receiver = await listens(cwd, 'to', 'extract', '-D', 'images');
	const sender = connects(cwd, 'from', 'capture');
	await (await StandInDump.connect({ work: join(cwd, 'from'), process: sender })).finish(image);
	await sender.ends();
	assert.equal(namesIn(join(cwd, 'images')), ['inventory.img', 'pages-1.img']);
	await ends(receiver);
});

test('capture returns when it listens, and CRIU can connect when the receiver has connected', async () => {
	const cwd = temporaryDirectory();
	const sender = await listens(cwd, 'from', 'capture');
	assert.not(namesIn(join(cwd, 'from')).includes(CAPTURE), 'CRIU cannot connect yet');
	const receiver = connects(cwd, 'to', 'extract', '-D', 'images');
	await appears(join(cwd, 'from'), CAPTURE);
	await until('the progress line', () => /^socket-init$/m.test(textOf(cwd, 'from')));
	await (await StandInDump.connect(join(cwd, 'from'))).finish(image);
	await receiver.ends();
	await ends(sender);
});

test('--status-fd gets its NUL when the command listens, once', async () => {
	const cwd = temporaryDirectory();
	const status = pipe();
	const args = ['-W', 'to', '--listen', 'unix:socket', '--status-fd', '3', 'extract', '-D', 'images'];
	const receiver = new Streamer(args, { cwd, fds: [status.writeEnd] });
	assert.equal(await status.readEnd.all(), Buffer.of(0));
	assert.is(receiver.ended, undefined);
	const sender = connects(cwd, 'from', 'capture');
	await (await StandInDump.connect({ work: join(cwd, 'from'), process: sender })).finish(image);
	await sender.ends();
	await receiver.ends();
});

test('a script that starts the receiver first and then the sender does not hang', async () => {
	const cwd = temporaryDirectory();
	const streamer = ours.map((word) => `'${word}'`).join(' ');
	const script = `set -e
		${streamer} -W to --daemon --pidfile pid --listen unix:socket extract -D images
		${streamer} -W from --connect unix:socket --daemon --pidfile pid --log-file log capture`;
	const { status, stderr } = spawnSync('bash', ['-c', script], {
		cwd,
		encoding: 'utf8',
		stdio: ['ignore', 'ignore', 'pipe'],
		timeout: 60_000,
	});
	assert.is(status, 0, stderr);
	const [receiver, sender] = ['to', 'from'].map((work) => processOf(join(cwd, work, 'pid')));
	await (await StandInDump.connect(join(cwd, 'from'))).finish(image);
	await ends(sender!);
	await ends(receiver!);
	assert.equal(namesIn(join(cwd, 'images')), ['inventory.img', 'pages-1.img']);
});

test('an error after the foreground has returned is in the log', async () => {
	const cwd = temporaryDirectory();
	const receiver = await listens(cwd, 'to', 'extract');
	const sender = connects(cwd, 'from', 'capture');
	const dump = await StandInDump.connect({ work: join(cwd, 'from'), process: sender });
	await dump.put('core-1.img', 'x');
	dump.close();
	await sender.ends(1);
	await ends(receiver);
	const errors = textOf(cwd, 'to')
		.split('\n')
		.filter((line) => line.includes(') Error: '));
	assert.is(errors.length, 1);
	assert.match(errors[0]!, /the stream ends before the image does|of unix:socket/);
	assert.equal(namesIn(join(cwd, 'to')), ['log']);
});

test('an error before the daemon listens is reported in the foreground', async () => {
	const cwd = temporaryDirectory();
	const args = ['-W', 'to', '--daemon', '--pidfile', 'pid', '--listen', 'unix:none/socket', 'extract'];
	assert.match(await new Streamer(args, { cwd }).ends(1), /none.*no such file or directory \(ENOENT\)/);
	assert.equal(namesIn(join(cwd, 'to')), []);
});

test('warnings about connections that are refused go to the log file', async () => {
	const cwd = temporaryDirectory();
	const receiver = new Streamer(['-W', 'to', '--log-file', 'log', '--listen', 'unix:socket', 'extract'], {
		cwd,
	});
	assert.match(
		await connects(cwd, 'from', 'capture', '--shards', '2').ends(1),
		/2 connections cannot meet 1/,
	);
	const warning = /Warn: refused a connection from unix:socket .*: 2 connections cannot meet 1 connection/;
	await until('the warning', () => warning.test(textOf(cwd, 'to')));
	receiver.kill('SIGTERM');
	assert.is(await receiver.ends(143), '');
});

test.run();

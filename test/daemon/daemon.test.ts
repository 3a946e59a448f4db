// --daemon: the foreground's status, the daemon's descriptors, pidfile, status and log.
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { markersIn, raw, streamOf } from '../support/markers.js';
import { pipe, pipeOf } from '../support/pipe.js';
import { namesIn, StandInDump, StandInRestore } from '../support/stand-in.js';
import { Streamer, startCapture } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';
import {
	appears,
	CAPTURE,
	connection,
	descriptor,
	ends,
	isAlive,
	processOf,
	SERVE,
	smallStream,
} from './service.js';

const test = suite('daemon');

test('the foreground ends with 0 when the socket exists, and the daemon has its own session', async () => {
	const work = temporaryDirectory();
	const { readEnd, writeEnd } = pipe();
	const foreground = new Streamer(['-d', '-W', work, '--pidfile', 'pid', 'capture'], { stdout: writeEnd });
	// Its stderr is closed: the daemon does not keep it open.
	assert.is(await foreground.ends(), '');
	const pid = processOf(join(work, 'pid'));
	assert.ok(existsSync(join(work, CAPTURE)));
	const [, , , session] = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) /, '').split(' ');
	assert.is(Number(session), pid);
	assert.is(descriptor(pid, 0), '/dev/null');
	assert.match(descriptor(pid, 1)!, 'pipe:');
	assert.is(descriptor(pid, 2), '/dev/null');

	const stream = readEnd.all();
	const dump = await StandInDump.connect(work);
	await dump.finish();
	assert.is(
		markersIn(await stream)
			.at(-1)!
			.split(' ')[1],
		'image-end',
	);
	await ends(pid);
	assert.equal(namesIn(work), []);
});

test('every descriptor given by the user reaches the daemon under its number', async () => {
	const directory = temporaryDirectory();
	const shards = [pipe(), pipe()];
	const ext = pipe();
	const progress = pipe();
	const status = pipe();
	writeFileSync(join(directory, 'ext'), 'extra');
	const args = '-d --pidfile pid -s 3,4 -e ext:5 --progress-fd 6 --status-fd 7 -W work capture';
	const foreground = new Streamer(args.split(' '), {
		cwd: directory,
		fds: [shards[0]!.writeEnd, shards[1]!.writeEnd, ext.readEnd, progress.writeEnd, status.writeEnd],
	});
	assert.equal(await status.readEnd.all(), Buffer.of(0));
	await foreground.ends();
	const pid = processOf(join(directory, 'work', 'pid'));
	assert.is(descriptor(pid, 7), undefined);
	for (const fd of [0, 1, 2]) assert.is(descriptor(pid, fd), '/dev/null');

	const streams = Promise.all(shards.map(({ readEnd }) => readEnd.all()));
	const lines = progress.readEnd.all();
	await ext.writeEnd.end(Buffer.from('extra'));
	const dump = await StandInDump.connect(join(directory, 'work'));
	await dump.finish();
	const markers = (await streams).flatMap(markersIn).map((marker) => marker.replace(/^\d+ /, ''));
	assert.ok(markers.includes('file ext'));
	assert.ok(markers.includes('image-end'));
	const progressLines = String(await lines).split('\n');
	assert.equal(progressLines.slice(0, 2), ['socket-init', 'checkpoint-start']);
	assert.is(JSON.parse(progressLines[2]!).shards.length, 2);
	await ends(pid);
});

test('the foreground of a replay waits until the whole stream is received', async () => {
	const work = temporaryDirectory();
	const { readEnd, writeEnd } = pipe();
	const foreground = new Streamer(['-d', '-W', work, '--pidfile', 'pid', 'serve'], { stdin: readEnd });
	await appears(work, 'pid');
	const pid = processOf(join(work, 'pid'));
	const stream = smallStream();
	await writeEnd.write(stream.subarray(0, 7));
	assert.is(foreground.ended, undefined);
	assert.not(existsSync(join(work, SERVE)));
	await writeEnd.end(stream.subarray(7));
	await foreground.ends();
	const restore = await StandInRestore.connect(work);
	assert.equal(await restore.read('inventory.img'), Buffer.alloc(0));
	restore.close();
	await ends(pid);
	assert.equal(namesIn(work), []);
});

test('the error for a refused stream appears in the foreground', async () => {
	const work = temporaryDirectory();
	const foreground = new Streamer(['-d', '-W', work, '--pidfile', 'pid', 'serve'], {
		stdin: pipeOf(streamOf(raw('this is no image'))),
	});
	assert.match(await foreground.ends(1), /^criu-image-streamer: .*\n$/);
	assert.equal(namesIn(work), []);
});

test('the error of a failed start appears in the foreground', async () => {
	const work = temporaryDirectory();
	const first = new Streamer(['-W', work, '--pidfile', 'pid', 'capture'], { stdout: pipe().writeEnd });
	await appears(work, CAPTURE);
	const pidfile = join(work, 'pid');
	const cases: [args: string, message: string][] = [
		[
			'',
			`${join(work, CAPTURE)} is in use by process ${first.pid} (node): end it, or choose another --work-dir`,
		],
		[
			'--criu-fd 3 --pidfile pid',
			`the pidfile ${pidfile} exists, and process ${first.pid} is running: end it, or choose another`,
		],
		[
			'--criu-fd 3 --log-file none/log',
			`cannot open the log file ${join(work, 'none/log')}: no such file or directory (ENOENT)`,
		],
	];
	for (const [args, message] of cases) {
		const end = new Streamer(['-d', '-W', work, ...args.split(' ').filter(Boolean), 'capture'], {
			stdout: pipe().writeEnd,
			fds: args.includes('criu-fd') ? [connection().theirs] : [],
		});
		assert.is(await end.ends(1), `criu-image-streamer: ${message}\n`);
	}
	first.kill('SIGTERM');
	await first.ends(143);
	assert.equal(namesIn(work), []);

	const wrong = new Streamer(['-d', '-W', work, '--shard-fds', '77', 'capture']);
	assert.match(await wrong.ends(2), 'criu-image-streamer: shard fd 77 is not open');
	const unread = new Streamer(['-d', '-W', work, '--shard-fds', '77', '-D', join(work, 'images'), 'extract']);
	assert.match(await unread.ends(2), 'criu-image-streamer: shard fd 77 is not open');
	const unseen = new Streamer(['-d', '-W', work, '--progress-fd', '78', 'capture'], {
		stdout: pipe().writeEnd,
	});
	assert.is(
		await unseen.ends(2),
		"criu-image-streamer: --progress-fd: fd 78 is not open\nTry 'criu-image-streamer --help'.\n",
	);
});

test('a signal to a foreground that waits ends the daemon too', async () => {
	const work = temporaryDirectory();
	const foreground = new Streamer(['-d', '-W', work, '--pidfile', 'pid', 'serve'], { stdin: pipe().readEnd });
	await appears(work, 'pid');
	const pid = processOf(join(work, 'pid'));
	foreground.kill('SIGINT');
	await foreground.ends(130);
	await ends(pid);
	assert.equal(namesIn(work), []);
});

test('a signal ends the daemon, which removes its files', async () => {
	const work = temporaryDirectory();
	const foreground = new Streamer(['-d', '-W', work, '--pidfile', 'pid', 'capture'], {
		stdout: pipe().writeEnd,
	});
	await foreground.ends();
	const pid = processOf(join(work, 'pid'));
	assert.ok(isAlive(pid));
	process.kill(pid, 'SIGTERM');
	await ends(pid);
	assert.equal(namesIn(work), []);
});

test('the pidfile is of one process only, and one left by a crash must be removed by hand', async () => {
	const { process, work } = startCapture({ args: ['--pidfile', 'pid'] });
	await appears(work, CAPTURE);
	const path = join(work, 'pid');
	assert.is(readFileSync(path, 'utf8'), `${process.pid}\n`);
	process.kill('SIGKILL');
	await process.end;
	const second = startCapture({ work, args: ['--pidfile', 'pid'] });
	assert.is(
		await second.process.ends(1),
		`criu-image-streamer: the pidfile ${path} exists, and its process ${process.pid} is gone: remove it\n`,
	);
	assert.is(readFileSync(path, 'utf8'), `${process.pid}\n`);
	assert.equal(
		namesIn(work).filter((name) => name.includes('.new')),
		[],
	);
});

test('--status-fd gets one NUL and is closed when CRIU can connect', async () => {
	const { readEnd, writeEnd } = pipe();
	const { process, work } = startCapture({ fds: [writeEnd], args: ['--status-fd', '3'] });
	assert.equal(await readEnd.all(), Buffer.of(0));
	assert.ok(existsSync(join(work, CAPTURE)));
	assert.is(process.ended, undefined);
});

test('--status-fd has no other use', async () => {
	const { process } = startCapture({ shards: 1, args: ['--status-fd', '3'] });
	assert.match(await process.ends(2), '--status-fd: fd 3 is used by --shard-fds already');
});

const line = /^\(\d{2,}\.\d{6}\) (Error|Warn|Info|Debug): .+$/;

test('the log file is appended to, is in the work dir, and has the reason of a failure', async () => {
	const work = temporaryDirectory();
	writeFileSync(join(work, 'log'), 'earlier\n', { mode: 0o644 });
	const serve = new Streamer(['-W', work, '-o', 'log', '-v4', 'serve'], {
		stdin: pipeOf(Buffer.from('this is no image')),
	});
	const message = await serve.ends(1);
	const [earlier, ...lines] = readFileSync(join(work, 'log'), 'utf8').split('\n').slice(0, -1);
	assert.is(earlier, 'earlier');
	for (const each of lines) assert.match(each, line);
	assert.is(`${lines.at(-1)!.replace(/^.* Error/, 'criu-image-streamer')}\n`, message);
});

test('a daemon’s log gets the messages that would go to stderr', async () => {
	const work = temporaryDirectory();
	const args = ['-d', '-W', work, '--pidfile', 'pid', '--log-file', 'log', 'capture'];
	const foreground = new Streamer(args, { stdout: pipe().writeEnd });
	await foreground.ends();
	const pid = processOf(join(work, 'pid'));
	assert.is(statSync(join(work, 'log')).mode & 0o777, 0o600);
	// A dump without inventory.img is a failure.
	const dump = await StandInDump.connect(work);
	await dump.put('core-1.img', 'x');
	dump.close();
	await ends(pid);
	const lines = readFileSync(join(work, 'log'), 'utf8').split('\n');
	assert.ok(lines.includes('socket-init'), 'progress goes to stderr unless --progress-fd says otherwise');
	assert.is(lines.filter((each) => each.includes(') Error: ')).length, 1);
	await until('no file but the log', () => namesIn(work).join() === 'log');
});

test.run();

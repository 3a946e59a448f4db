// The directory of the sockets is created if needed, is checked first, and is the only one that is used.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { pipe, pipeOf } from '../support/pipe.js';
import { namesIn } from '../support/stand-in.js';
import { ours, type Program, Streamer } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { need } from '../support/tools.js';
import { appears, CAPTURE, smallStream } from './service.js';

const test = suite('work dir');
const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);

test('is created for its owner only, and so is the socket', async () => {
	const work = join(temporaryDirectory(), 'a', 'b');
	const capture = new Streamer(['--work-dir', work, 'capture'], { stdout: pipe().writeEnd });
	await appears(work, CAPTURE);
	assert.is(mode(work), '700');
	assert.is(mode(join(work, 'streamer-capture.sock')), '600');
	capture.kill('SIGTERM');
	await capture.ends(143);
	assert.equal(namesIn(work), []);
});

test('may have a path that is too long for a socket address', async () => {
	const work = join(temporaryDirectory(), 'long'.repeat(30), 'longer'.repeat(30));
	const capture = new Streamer(['--work-dir', work, 'capture'], { stdout: pipe().writeEnd });
	await appears(work, CAPTURE);
	const second = new Streamer(['--work-dir', work, 'capture'], { stdout: pipe().writeEnd });
	assert.match(await second.ends(1), `is in use by process ${capture.pid} (node)`);
	capture.kill('SIGTERM');
	await capture.ends(143);
	assert.equal(namesIn(work), []);
});

test('is refused, naming it, where it is a file, or below one', async () => {
	const path = join(temporaryDirectory(), 'file');
	writeFileSync(path, '');
	for (const work of [path, join(path, 'below')]) {
		const message = await new Streamer(['--work-dir', work, 'capture'], { stdout: pipe().writeEnd }).ends(1);
		assert.is(
			message,
			`criu-image-streamer: the work dir ${work} is not a directory: choose another --work-dir\n`,
		);
	}
});

test('is refused, naming it, where no directory can be created', async () => {
	const message = await new Streamer(['-W', '/proc/nowhere/work', 'capture'], {
		stdout: pipe().writeEnd,
	}).ends(1);
	assert.is(
		message,
		'criu-image-streamer: cannot make the work dir /proc/nowhere/work: no such file or directory (ENOENT); choose another --work-dir\n',
	);
});

test('is refused, naming it, where no file can be created in it', () => {
	const work = temporaryDirectory();
	chmodSync(work, 0o555);
	const module = fileURLToPath(new URL('../../src/options/directories.ts', import.meta.url));
	// Root may write everywhere, so the check runs as another user, but only after loading, which may need root.
	const code = `import { checkDirectory } from ${JSON.stringify(module)};
		if (process.getuid() === 0) process.setuid(65534);
		try { checkDirectory(${JSON.stringify(work)}, { what: 'the work dir', option: '--work-dir' }); } catch (error) { process.stdout.write(error.message); }`;
	const { stdout, stderr } = spawnSync(
		process.execPath,
		['--import', 'tsx', '--input-type=module', '-e', code],
		{ encoding: 'utf8', cwd: fileURLToPath(new URL('../..', import.meta.url)) },
	);
	assert.is(
		stdout,
		`cannot write in the work dir ${work}: permission denied (EACCES); choose another --work-dir`,
		stderr,
	);
});

for (const command of ['capture', 'serve']) {
	test(`${command} needs no images dir: none is opened, read or created`, async () => {
		need('strace');
		const directory = temporaryDirectory();
		const work = join(directory, 'work');
		const images = join(directory, 'the-images');
		const trace = join(directory, 'trace');
		const program: Program = ['strace', '-f', '-qq', '-s', '4096', '-o', trace, ...ours];
		const streamer = new Streamer(['-W', work, '-D', images, '--pidfile', 'pid', command], {
			program,
			stdin: pipeOf(smallStream()),
			stdout: pipe().writeEnd,
		});
		await appears(work, `streamer-${command}.sock`);
		process.kill(Number(readFileSync(join(work, 'pid'), 'utf8')), 'SIGTERM');
		await streamer.ends(143);
		const lines = readFileSync(trace, 'utf8').split('\n');
		assert.ok(
			lines.some((line) => line.includes(`mkdir("${work}"`)),
			'the trace shows no calls',
		);
		// The command line itself appears in execve.
		const touching = lines.filter((line) => line.includes('the-images') && !/ execve\(/.test(line));
		assert.equal(touching, []);
		assert.not(existsSync(images));
	});
}

test.run();

// Directories and files that the command would create or write to are checked before a stream is read, and the checks leave
// nothing behind.
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { imageEnd, streamOf, whole } from '../support/markers.js';
import { pipeOf } from '../support/pipe.js';
import { namesIn } from '../support/stand-in.js';
import { startExtractFrom } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { refusalOf, withoutCapabilities } from './start.js';

const test = suite('directories, at the start', { together: 3 });

/** A directory with another one in it that only root may write to. */
function withReadOnly(): { cwd: string; closed: string } {
	const cwd = temporaryDirectory();
	const closed = join(cwd, 'closed');
	mkdirSync(closed);
	chmodSync(closed, 0o555);
	return { cwd, closed };
}

function withFile(): { cwd: string; file: string } {
	const cwd = temporaryDirectory();
	const file = join(cwd, 'file');
	writeFileSync(file, '');
	return { cwd, file };
}

test('an images dir that cannot be written to is refused', async () => {
	const { cwd, closed } = withReadOnly();
	const args = ['-W', 'work', 'extract', '-D', 'closed'];
	assert.is(
		await refusalOf({ args, code: 1, cwd, program: withoutCapabilities() }),
		`cannot write in the images dir ${closed}: permission denied (EACCES); choose another --images-dir`,
	);
});

test('a new images dir below a directory that cannot be written to is refused', async () => {
	const { cwd, closed } = withReadOnly();
	assert.is(
		await refusalOf({
			args: ['extract', '-D', 'closed/new/er'],
			code: 1,
			cwd,
			program: withoutCapabilities(),
		}),
		`cannot make the images dir ${closed}/new/er: permission denied (EACCES); choose another --images-dir`,
	);
});

test('a work dir that cannot be written to is refused', async () => {
	const { cwd, closed } = withReadOnly();
	for (const command of ['capture', 'extract']) {
		assert.is(
			await refusalOf({ args: ['-W', 'closed', command], code: 1, cwd, program: withoutCapabilities() }),
			`cannot write in the work dir ${closed}: permission denied (EACCES); choose another --work-dir`,
		);
	}
});

for (const command of ['capture', 'serve', 'extract']) {
	test(`a file, one below it and a link to nothing as --images-dir of ${command} blame --images-dir`, async () => {
		const { cwd, file } = withFile();
		symlinkSync('nowhere', join(cwd, 'link'));
		for (const path of [file, join(file, 'below'), join(cwd, 'link')]) {
			assert.is(
				await refusalOf({ args: [command, '-D', path], code: 1, cwd }),
				`the images dir ${path} is not a directory: choose another --images-dir`,
			);
		}
	});
}

const spools: [what: string, make: () => { cwd: string; spool: string }, expected: RegExp][] = [
	[
		'is not there',
		() => ({ cwd: temporaryDirectory(), spool: 'none' }),
		/no such file or directory \(ENOENT\)/,
	],
	[
		'is a file',
		() => {
			const { cwd, file } = withFile();
			return { cwd, spool: file };
		},
		/not a directory \(ENOTDIR\)/,
	],
	[
		'cannot be written to',
		() => {
			const { cwd, closed } = withReadOnly();
			return { cwd, spool: closed };
		},
		/permission denied \(EACCES\)/,
	],
];
for (const [what, make, expected] of spools) {
	test(`a spool that ${what} is refused`, async () => {
		const { cwd, spool } = make();
		const args = ['-W', 'work', '--spool', spool, 'extract'];
		const message = await refusalOf({ args, code: 1, cwd, program: withoutCapabilities() });
		assert.match(
			message,
			new RegExp(`^cannot make an unnamed file in --spool ${spool}: .*; choose a directory`),
		);
		assert.match(message, expected);
	});
}

test('a spool on a file system without unnamed files is refused', async () => {
	assert.is(
		await refusalOf({ args: ['-W', 'work', '--spool', '/proc', 'extract'], code: 1 }),
		`cannot make an unnamed file in --spool /proc: ${process.getuid!() === 0 ? 'its file system has none' : 'permission denied (EACCES)'}; ` +
			'choose a directory of a local disk that this process may write to',
	);
});

test('an existing pidfile is refused, and stays', async () => {
	const cwd = temporaryDirectory();
	mkdirSync(join(cwd, 'work'));
	const path = join(cwd, 'work', 'pid');
	writeFileSync(path, `${process.pid}\n`);
	const args = ['-W', 'work', '--pidfile', 'pid', '--log-file', 'log', 'extract'];
	assert.is(
		await refusalOf({ args, code: 1, cwd }),
		`the pidfile ${path} exists, and process ${process.pid} is running: end it, or choose another`,
	);
	assert.is(readFileSync(path, 'utf8'), `${process.pid}\n`);
});

test('a pidfile and a log file in a directory that is not there, or cannot be written to, are refused', async () => {
	const { cwd, closed } = withReadOnly();
	const file = join(cwd, 'file');
	writeFileSync(file, '');
	const program = withoutCapabilities();
	const absent = join(cwd, 'work', 'none');
	const cases: [args: string[], message: string][] = [
		[['--pidfile', 'none/pid'], `cannot write the pidfile ${absent}/pid: no such file or directory (ENOENT)`],
		[['--pidfile', `${file}/pid`], `cannot write the pidfile ${file}/pid: not a directory (ENOTDIR)`],
		[['--pidfile', `${closed}/pid`], `cannot write the pidfile ${closed}/pid: permission denied (EACCES)`],
		[
			['--log-file', 'none/log'],
			`cannot open the log file ${absent}/log: no such file or directory (ENOENT)`,
		],
		[['--log-file', `${closed}/log`], `cannot open the log file ${closed}/log: permission denied (EACCES)`],
		[['--log-file', closed], `cannot open the log file ${closed}: illegal operation on a directory (EISDIR)`],
	];
	for (const [args, message] of cases)
		assert.is(await refusalOf({ args: ['-W', 'work', ...args, 'serve'], code: 1, cwd, program }), message);
});

test('with --daemon the foreground reports the error, and there is no daemon', async () => {
	const { cwd, closed } = withReadOnly();
	const args = ['-d', '-W', 'work', '--pidfile', 'pid', '--log-file', 'log', 'extract', '-D', 'closed'];
	assert.is(
		await refusalOf({ args, code: 1, cwd, program: withoutCapabilities() }),
		`cannot write in the images dir ${closed}: permission denied (EACCES); choose another --images-dir`,
	);
});

test('an images dir that can be created is created, and has only the images', async () => {
	const images = join(temporaryDirectory(), 'a', 'b');
	const stdin = pipeOf(streamOf(...whole('inventory.img', 'x'), imageEnd()));
	await startExtractFrom([stdin], { imagesDir: images }).process.ends();
	assert.equal(namesIn(images), ['inventory.img']);
	assert.equal(namesIn(join(images, '..')), ['b']);
});

test.run();

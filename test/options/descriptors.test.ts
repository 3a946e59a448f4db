// Descriptors that the options name are checked before the wait for CRIU or a stream.
import { openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { socket } from '../../src/libc/calls.js';
import { AF_UNIX, O_PATH, SOCK_DGRAM } from '../../src/libc/constants.js';
import { connection, listener } from '../daemon/service.js';
import { content } from '../support/content.js';
import { data, file, fileEnd, imageEnd, streamOf, whole } from '../support/markers.js';
import { End, pipe, pipeOf } from '../support/pipe.js';
import { startExtractFrom } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { refusalOf } from './start.js';

const test = suite('descriptors, at the start', { together: 3 });

const path = () => join(temporaryDirectory(), 'file');
const opened = (flags: string | number) => {
	const name = path();
	writeFileSync(name, '');
	return new End(openSync(name, flags));
};

const extFiles: [what: string, command: string, open: () => End, message: RegExp][] = [
	[
		'a directory',
		'capture',
		() => new End(openSync(temporaryDirectory(), 'r')),
		/is a directory: .* pack it/,
	],
	[
		'a directory',
		'extract',
		() => new End(openSync(temporaryDirectory(), 'r')),
		/is a directory: .* pack it/,
	],
	['a name without its file', 'capture', () => opened(O_PATH), /is open for writing only/],
	['a file to write to', 'capture', () => opened('w'), /is open for writing only/],
	['a file to read from', 'extract', () => opened('r'), /is open for reading only/],
	['a socket that listens', 'extract', () => listener().end, /is a socket that listens/],
	[
		'a socket of messages',
		'capture',
		() => new End(socket(AF_UNIX, SOCK_DGRAM, 0)),
		/is a socket of messages/,
	],
];
for (const [what, command, open, message] of extFiles) {
	test(`${what} is not accepted as an ext file of ${command}`, async () => {
		for (const more of [[], ['--daemon', '--pidfile', 'pid']]) {
			const args = ['-W', 'work', ...more, '--ext-file-fds', 'fs.tar:3', command];
			const answer = await refusalOf({ args, code: 2, fds: [open()] });
			assert.match(answer, /^--ext-file-fds: fd 3, for fs\.tar, /);
			assert.match(answer, message);
		}
	});
}

test('a file that is opened for appending takes an ext file', async () => {
	const directory = temporaryDirectory();
	const target = join(directory, 'target');
	writeFileSync(target, 'before ');
	// Large enough to be moved by reference, if that were possible.
	const large = content(1, 3_000_000);
	const stdin = pipeOf(
		streamOf(file('fs.tar'), data(large), fileEnd(), ...whole('inventory.img', 'x'), imageEnd()),
	);
	const { process } = startExtractFrom([stdin], {
		imagesDir: join(directory, 'images'),
		ext: { 'fs.tar': new End(openSync(target, 'a')) },
	});
	await process.ends();
	assert.ok(readFileSync(target).equals(Buffer.concat([Buffer.from('before '), large])));
});

test('a descriptor for CRIU has no other use', async () => {
	const args = ['-W', 'work', '--criu-fd', '3', '--ext-file-fds', 'fs.tar:3', 'capture'];
	const message = await refusalOf({ args, code: 2, fds: [connection().theirs] });
	assert.match(message, /^--(criu-fd|ext-file-fds): fd 3.* is used by --(ext-file-fds|criu-fd) already$/);
});

test('an error about a descriptor is raised before a work dir, a pidfile or a log is created', async () => {
	const service = ['-W', 'work', '--pidfile', 'pid', '--log-file', 'log'];
	const wrong: [args: string[], code: 1 | 2, message: RegExp][] = [
		[['--shard-fds', '77'], 2, /^shard fd 77 is not open/],
		[['--progress-fd', '77'], 2, /^--progress-fd: fd 77 is not open$/],
		[['--status-fd', '77'], 2, /^--status-fd: fd 77 is not open$/],
		[['--criu-fd', '77'], 1, /^--criu-fd: fd 77 is not open$/],
		[['--criu-fd', '3'], 1, /^--criu-fd: fd 3 is not a socket$/],
	];
	for (const [args, code, message] of wrong) {
		for (const command of [['capture'], ['serve'], ['serve', '--daemon']]) {
			const all = [...service, ...args, ...command];
			assert.match(await refusalOf({ args: all, code, fds: [pipe().writeEnd] }), message);
		}
	}
});

test.run();

// Options that exclude each other are wrong usage, whatever the state of the machine.
import * as assert from 'uvu/assert';
import { suite } from '../support/suite.js';
import { refusalOf } from './start.js';

const test = suite('options together');

const wrong: [args: string[], message: RegExp][] = [
	[['--tcp-listen-remap', '80:81'], /^--tcp-listen-remap is for replaying to CRIU/],
	[['--spool', '/nowhere'], /^--spool is for replaying to CRIU/],
	[['--memory-limit', '4G'], /^--memory-limit is for replaying to CRIU/],
	[['--criu-fd', '3'], /^--criu-fd is for replaying to CRIU/],
	[['--criu-clients', '2'], /^--criu-clients is for replaying to CRIU/],
	[['--keep'], /^--keep is for replaying to CRIU; with --images-dir the files are kept anyway$/],
];
for (const [args, message] of wrong) {
	test(`${args[0]} and an images dir to write files to`, async () => {
		assert.match(await refusalOf({ args: ['extract', '-D', 'images', ...args], code: 2 }), message);
	});
}

test.run();

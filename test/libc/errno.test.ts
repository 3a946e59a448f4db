// Messages for failed calls of Node's, in the form of this program's own errors.
import { mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { explained } from '../../src/libc/errno.js';
import { describeError } from '../../src/runtime/errors.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';

const test = suite('errors of calls');

function thrown(call: () => unknown): unknown {
	try {
		call();
	} catch (error) {
		return error;
	}
	throw new Error('it did not throw');
}

test('the message of a failed call has its name, its file and the cause', () => {
	const path = join(temporaryDirectory(), 'none');
	assert.is(
		describeError(thrown(() => readFileSync(path))),
		`cannot open ${path}: no such file or directory (ENOENT)`,
	);
	assert.is(
		describeError(thrown(() => renameSync(path, `${path}.new`))),
		`cannot rename ${path} to ${path}.new: no such file or directory (ENOENT)`,
	);
});

test('after an error that names the failed call, only the cause is added', () => {
	const cause = thrown(() => mkdirSync('/proc/nowhere'));
	assert.is(
		describeError(new Error('cannot make the images directory', { cause })),
		'cannot make the images directory: no such file or directory (ENOENT)',
	);
});

test('an error of explained() has the cause in its message, and its errno', () => {
	const error = thrown(() => explained('cannot make it', () => mkdirSync('/proc/nowhere'))) as {
		errno: number;
	};
	assert.is(describeError(error), 'cannot make it: no such file or directory (ENOENT)');
	assert.is(error.errno, 2);
});

test('errors of other kinds are unchanged', () => {
	assert.is(describeError(new Error('a', { cause: new TypeError('b') })), 'a: b');
	assert.is(describeError(Object.assign(new Error('no host'), { code: 'ENOTFOUND' })), 'no host');
});

test.run();

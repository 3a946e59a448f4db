// What a failed call of Node's says to the user, in the words of this program's own errors.
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

test('a call that failed is named with its file and the cause', () => {
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

test('behind an error that says what failed, only the cause is added', () => {
	const cause = thrown(() => mkdirSync('/proc/nowhere'));
	assert.is(
		describeError(new Error('cannot make the images folder', { cause })),
		'cannot make the images folder: no such file or directory (ENOENT)',
	);
});

test('a call that is explained has the cause in its message, and its errno', () => {
	const error = thrown(() => explained('cannot make it', () => mkdirSync('/proc/nowhere'))) as {
		errno: number;
	};
	assert.is(describeError(error), 'cannot make it: no such file or directory (ENOENT)');
	assert.is(error.errno, 2);
});

test('errors of other kinds are left as they are', () => {
	assert.is(describeError(new Error('a', { cause: new TypeError('b') })), 'a: b');
	assert.is(describeError(Object.assign(new Error('no host'), { code: 'ENOTFOUND' })), 'no host');
});

test.run();

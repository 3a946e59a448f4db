// Names are untrusted input and become paths.
import * as assert from 'uvu/assert';
import { checkImageName, quoteName } from '../../src/stream/image-name.js';
import { suite } from '../support/suite.js';

const test = suite('image name');

for (const name of [
	'pages-1.img',
	'a',
	'...',
	'..a',
	'.hidden',
	'with space',
	'é',
	'x'.repeat(255),
	'a\\b',
	'-rf',
]) {
	test(`takes ${quoteName(name)}`, () => assert.is(checkImageName(name, 'CRIU'), name));
}

const refused: [name: string, why: RegExp][] = [
	['', /is empty/],
	['.', /is a directory/],
	['..', /is a directory/],
	['/etc/passwd', /absolute/],
	['/', /absolute/],
	['a/b', /slash/],
	['../a', /slash/],
	['a/', /slash/],
	['a\0', /NUL/],
	['x'.repeat(256), /longer than 255 bytes/],
	['é'.repeat(128), /longer than 255 bytes/],
	['\ufffd', /UTF-8/],
];
for (const [name, why] of refused) {
	test(`refuses ${quoteName(name)}`, () => {
		assert.throws(() => checkImageName(name, 'CRIU'), why);
		assert.throws(() => checkImageName(name, 'CRIU'), /^CRIU sent the file name "/);
	});
}

test('a name in a message is one line of limited length', () => {
	assert.is(quoteName('a\nb'), '"a\\nb"');
	assert.ok(quoteName('x'.repeat(5000)).length < 100);
});

test.run();

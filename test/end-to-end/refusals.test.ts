// A reader checks all of its input: each error in a stream ends it with exit code 1 and one line that names the error. A
// replay that failed never lets CRIU connect, and an extract to disk leaves no file that looks like one of an image.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import {
	at,
	data,
	file,
	fileEnd,
	imageEnd,
	type Part,
	prefixed,
	raw,
	streamOf,
	unknown,
	whole,
} from '../support/markers.js';
import { pipeOf } from '../support/pipe.js';
import { namesIn } from '../support/stand-in.js';
import { startExtractFrom } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';

const hugeName = 'x'.repeat(11_000);
const name = (text: string | Uint8Array): Part[] => [
	...whole('a.img', 'a'),
	file(text),
	data('b'),
	fileEnd(),
	imageEnd(),
];

/** A stream with a file of corrections: those of pages-1.img, which has one byte, or `content`. */
const corrected = (content: string): Part[] => [
	...whole('pages-1.img', 'a'),
	...whole('streamer-corrections.img', content),
	imageEnd(),
];
/** pages-1.img, from the byte 1 on: "b". */
const BEYOND = '\x0a\x14\x0a\x0bpages-1.img\x12\x05\x08\x01\x12\x01b';

const refused: [what: string, shards: Part[][], message: RegExp][] = [
	[
		'a message over 10 KiB',
		[[file(hugeName), data('a'), fileEnd(), imageEnd()]],
		/marker of 11003 bytes, more than the maximum of 10240/,
	],
	[
		'a length of 4 GB',
		[[...whole('a.img', 'a'), raw(Buffer.from('ffffffff', 'hex'))]],
		/marker of 4294967295 bytes/,
	],
	['corrections that cannot be decoded', [corrected('text')], /streamer-corrections\.img cannot be decoded/],
	['corrections of a byte that no file has', [corrected(BEYOND)], /no byte 1 of "?pages-1\.img/],
	[
		'corrections of a file that is not there',
		[corrected(BEYOND.replace('pages-1', 'pages-2'))],
		/no byte 1 of "?pages-2\.img/,
	],
	['an unknown body', [[...whole('a.img', 'a'), unknown(), imageEnd()]], /does not know/],
	['a message that is not a marker', [[raw(prefixed(Buffer.from('08ff', 'hex')))]], /no marker/],
	[
		'input that is not a stream',
		[[raw('This is not an image stream, but text.\n'.repeat(100))]],
		/marker of \d+ bytes.* no image stream/,
	],
	['a gap in the sequence', [[...whole('a.img', 'a'), at(4, imageEnd())]], /marker 3 is missing/],
	['a gap over two shards', [[file('a.img'), at(2, fileEnd())], [at(4, imageEnd())]], /marker 1 is missing/],
	[
		'a repeat in the sequence',
		[[...whole('a.img', 'a'), at(2, fileEnd()), at(3, imageEnd())]],
		/marker 2 came twice/,
	],
	[
		'a repeat over two shards',
		[
			[file('a.img'), data('a')],
			[at(1, data('b')), at(2, fileEnd()), at(3, imageEnd())],
		],
		/marker 1 came twice/,
	],
	[
		'a marker after the end',
		[[...whole('a.img', 'a'), imageEnd(), file('b.img')]],
		/after the end of the image/,
	],
	[
		'bytes after the end',
		[[...whole('a.img', 'a'), imageEnd(), raw('x')]],
		/stdin ends in the middle of a marker/,
	],
	[
		'bytes after the end in another shard',
		[[...whole('a.img', 'a'), imageEnd()], [raw('xy')]],
		/shard fd 4 ends in the middle of a marker/,
	],
	['no input at all', [[]], /the stream ends before the image does/],
	['an end before the end of the image', [[...whole('a.img', 'a')]], /end/],
	[
		'an end in the middle of a message',
		[[...whole('a.img', 'a'), raw(Buffer.from('04000000', 'hex'))]],
		/end/,
	],
	['an end in the middle of a length', [[...whole('a.img', 'a'), raw(Buffer.from('0400', 'hex'))]], /end/],
	['an end in the middle of data', [[file('a.img'), data('abc', 1000)]], /end/],
	[
		'an end of one of two shards',
		[
			[file('a.img'), data('abc', 1000)],
			[at(2, fileEnd()), at(3, imageEnd())],
		],
		/end/,
	],
	['data without a file', [[data('a'), imageEnd()]], /has data without a file/],
	[
		'data after the end of its file',
		[[...whole('a.img', 'a'), data('b'), imageEnd()]],
		/has data without a file/,
	],
	['an end of no file', [[fileEnd(), imageEnd()]], /ends no file/],
	['a file that never ends', [[file('a.img'), data('a'), imageEnd()]], /"a.img" did not/],
	['a file ended twice', [[...whole('a.img', 'a'), fileEnd(), imageEnd()]], /ends no file/],
	[
		'a file that continues after its end',
		[[...whole('a.img', 'a'), ...whole('a.img', 'b'), imageEnd()]],
		/"a.img" has data after its end/,
	],
	['an empty name', [name('')], /"", which is empty/],
	['the name .', [name('.')], /"\.", which is a directory/],
	['the name ..', [name('..')], /"\.\.", which is a directory/],
	['an absolute name', [name('/tmp/evil.img')], /"\/tmp\/evil\.img", which is an absolute path/],
	['a name with a slash', [name('../evil.img')], /"\.\.\/evil\.img", which holds a slash/],
	['a name with a NUL', [name('evil\0.img')], /which holds a NUL/],
	['a name that is no UTF-8', [name(Buffer.from('ff61', 'hex'))], /no marker|UTF-8/],
	['a name that is too long for a file system', [name('x'.repeat(256))], /longer than 255 bytes/],
];

const test = suite('refusals', { together: 3 });

function start(shards: Part[][], imagesDir?: string) {
	const ends = shards.map((parts) => pipeOf(streamOf(...parts)));
	const options = { ...(imagesDir && { imagesDir }), ...(shards.length > 1 && { shards: shards.length }) };
	return startExtractFrom(ends, options);
}

/** One line, from this program, without a stack. */
function checkMessage(stderr: string, message: RegExp): void {
	assert.match(stderr, /^criu-image-streamer: [^\n]+\n$/);
	assert.match(stderr, message);
	assert.not.match(stderr, /\bat .*:\d+/);
}

for (const [what, shards, message] of refused) {
	test(`${what}, on replay`, async () => {
		const { process, work } = start(shards);
		checkMessage(await process.ends(1), message);
		assert.equal(namesIn(work), []);
	});
	test(`${what}, to disk`, async () => {
		const outside = temporaryDirectory();
		const directory = join(outside, 'images');
		const { process } = start(shards, directory);
		checkMessage(await process.ends(1), message);
		if (existsSync(directory)) assert.equal(namesIn(directory), []);
		assert.equal(
			namesIn(outside).filter((found) => found !== 'images'),
			[],
		);
	});
}

test('the same helpers make a stream that is accepted', async () => {
	const directory = join(temporaryDirectory(), 'images');
	const { process } = start(
		[[file('a.img'), at(2, data('b')), fileEnd(), imageEnd()], [at(1, data('a'))]],
		directory,
	);
	await process.ends();
	assert.equal(namesIn(directory), ['a.img']);
});

test.run();

// A failed dump makes a failed stream: exit code 1, and no end of the image, so that every reader refuses it.
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { capture } from '../../src/capture/capture.js';
import { ListeningSocket } from '../../src/criu/socket.js';
import { afterwards } from '../support/cleanup.js';
import { markersIn } from '../support/markers.js';
import { pipe } from '../support/pipe.js';
import { requestFor, StandInDump } from '../support/stand-in.js';
import { startCapture } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';

const test = suite('failed dump');

/** Starts a capture, lets `dump` play CRIU, and returns the stream and stderr without its progress lines. */
async function failing(dump: (criu: StandInDump) => Promise<unknown>, args: string[] = [], code = 1) {
	const { process, work, shards } = startCapture({ args });
	const got = shards[0]!.all();
	await dump(await StandInDump.connect({ work, process }));
	const stderr = await process.ends(code);
	return { stream: await got, message: stderr.replace(/^socket-init\n(checkpoint-start\n)?/, '') };
}

const refused: [what: string, dump: (criu: StandInDump) => Promise<unknown>, message: RegExp][] = [
	['no file at all', async (criu) => criu.close(), /before the first file, without inventory\.img/],
	[
		'no inventory.img',
		async (criu) => {
			await criu.put('files.img', 'files');
			await criu.put('core-1.img', Buffer.alloc(100_000));
			criu.close();
		},
		/after "core-1\.img", without inventory\.img/,
	],
	[
		'an empty inventory.img',
		async (criu) => {
			await criu.put('files.img', 'files');
			await criu.put('inventory.img', '');
			criu.close();
		},
		/CRIU ended before it wrote inventory\.img/,
	],
	['an empty name', (criu) => criu.send(requestFor('')), /"", which is empty/],
	[
		'a name with a slash',
		(criu) => criu.send(requestFor('../evil.img')),
		/"\.\.\/evil\.img", which holds a slash/,
	],
	['the name ..', (criu) => criu.send(requestFor('..')), /"\.\.", which is a directory/],
	['a name with a NUL', (criu) => criu.send(requestFor('a\0b')), /which holds a NUL/],
	[
		'a name twice',
		async (criu) => {
			await criu.put('a.img', 'a');
			await criu.put('a.img', 'b').catch(() => {});
		},
		/"a\.img" twice/,
	],
];
for (const [what, dump, message] of refused) {
	test(what, async () => {
		const { stream, message: line } = await failing(dump);
		assert.match(line, /^criu-image-streamer: [^\n]+\n$/);
		assert.match(line, message);
		assert.not.ok(markersIn(stream).some((marker) => marker.endsWith('image-end')));
	});
}

test('--allow-incomplete accepts it as complete', async () => {
	const { stream } = await failing(
		async (criu) => {
			await criu.put('files.img', 'files');
			criu.close();
		},
		['--allow-incomplete'],
		0,
	);
	assert.equal(markersIn(stream), ['0 file files.img', '1 data 5', '2 file-end', '3 image-end']);
});

test('the image is complete with inventory.img, although CRIU keeps its socket (lazy pages)', async () => {
	const { process, work, shards } = startCapture();
	const got = shards[0]!.all();
	const criu = await StandInDump.connect({ work, process });
	await criu.put('files.img', 'files');
	await criu.put('inventory.img', 'inventory');
	// Ends with the stream; the connection is still open.
	assert.match(markersIn(await got).at(-1)!, 'image-end');
	criu.close();
	await process.ends();
});

test('a file after inventory.img: the image is complete without it, and the capture fails', async () => {
	const { process, work, shards } = startCapture();
	const got = shards[0]!.all();
	const criu = await StandInDump.connect({ work, process });
	await criu.put('inventory.img', 'inventory');
	assert.match(markersIn(await got).at(-1)!, 'image-end');
	await criu.put('late.img', 'late').catch(() => {});
	assert.match(await process.ends(1), /CRIU sent "late\.img" after inventory\.img, which ends an image/);
});

test('a capture that is aborted before it begins accepts no dump', async () => {
	const path = join(temporaryDirectory(), 'criu.sock');
	const criu = ListeningSocket.at(path, 1);
	afterwards(() => criu.close());
	const { readEnd, writeEnd } = pipe();
	const job = {
		criu,
		shards: [{ fd: writeEnd.fd, name: 'the shard', stallMillis: 0 }],
		extFiles: [],
		plan: () => ({ references: 'never' as const }),
		log: { info() {} },
		allowIncomplete: false,
		signal: AbortSignal.abort(new Error('given up')),
		onStart() {},
	};
	let message = '';
	await capture(job).catch((error) => (message = error.message));
	assert.is(message, 'given up');
	writeEnd.close();
	assert.is((await readEnd.all()).length, 0);
});

test.run();

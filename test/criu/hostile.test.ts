/** A peer on CRIU's socket that is not CRIU is refused with a reason, and none of its descriptors stays open. */
import * as assert from 'uvu/assert';
import { CriuConnection } from '../../src/criu/connection.js';
import { close, write } from '../../src/libc/calls.js';
import { afterwards } from '../support/cleanup.js';
import { openDescriptors } from '../support/descriptors.js';
import { data, file, fileEnd, imageEnd, markersIn, prefixed, streamOf } from '../support/markers.js';
import { socketPairs } from '../support/socket-pair.js';
import { namesIn, requestFor, StandInDump, StandInRestore } from '../support/stand-in.js';
import { startCapture, startExtract } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { until } from '../support/until.js';
import { cases, length, NAME, say, sendPipes } from './hostile-peer.js';

/** The time limit for a message, which is half a minute outside of tests. */
const HALF_MESSAGE_MILLIS = 100;

const alone = suite('a hostile peer');

/** Takes a request and its pipe from `connection`, until that fails. */
async function talk(connection: CriuConnection): Promise<string> {
	try {
		for (let name = await connection.request(); name !== undefined; name = await connection.request())
			close(await connection.pipe(name));
		return 'nothing';
	} catch (error) {
		return (error as Error).message;
	}
}

for (const { what, does, stays, message } of cases) {
	alone(what, async () => {
		const pair = socketPairs();
		const before = openDescriptors();
		const { near, far } = pair();
		const connection = new CriuConnection(far, new AbortController().signal);
		does(near);
		if (!stays) close(near);
		assert.match(await talk(connection), message);
		connection.close();
		if (stays) close(near);
		assert.is(openDescriptors(), before, 'every descriptor is closed');
	});
}

for (const [what, first] of Object.entries({
	'half a length': Buffer.of(11),
	'half a message': requestFor(NAME).subarray(0, 8),
	'a request without its pipe': requestFor(NAME),
})) {
	alone(`${what}, and then no more input`, async () => {
		const { near, far } = socketPairs()();
		const connection = new CriuConnection(far, new AbortController().signal, HALF_MESSAGE_MILLIS);
		say(near, first);
		assert.match(await talk(connection), /has not finished a message for 0\.1 s/);
		connection.close();
		close(near);
	});
}

alone('a slow sender: the time limit is for the whole message, not for each byte', async () => {
	const { near, far } = socketPairs()();
	const connection = new CriuConnection(far, new AbortController().signal, HALF_MESSAGE_MILLIS);
	const message = prefixed(Buffer.concat([Buffer.of(0x0a, 0x80, 0x4e), Buffer.alloc(9984, 'x')]));
	let at = 0;
	const dripping = setInterval(() => write(near, message.subarray(at, ++at), 1), HALF_MESSAGE_MILLIS / 10);
	afterwards(() => clearInterval(dripping));
	assert.match(await talk(connection), /has not finished a message/);
	assert.ok(at < message.length);
	clearInterval(dripping);
	connection.close();
	close(near);
});

alone('silence between messages is not an error', async () => {
	const { near, far } = socketPairs()();
	const connection = new CriuConnection(far, new AbortController().signal, HALF_MESSAGE_MILLIS);
	const talking = talk(connection);
	for (const name of ['a.img', 'b.img']) {
		await new Promise((resolve) => setTimeout(resolve, 3 * HALF_MESSAGE_MILLIS));
		say(near, requestFor(name));
		sendPipes(near, 1);
	}
	close(near);
	assert.is(await talking, 'nothing');
	connection.close();
});

alone.run();

const command = suite('a hostile peer of the command');
const HOSTILE = cases.filter(({ what }) =>
	['2 descriptors', 'a length of 4 GB', 'half a message', '/ instead of a pipe'].includes(what),
);

for (const { what, does, message } of HOSTILE) {
	command(`capture: ${what}`, async () => {
		const { process, work, shards } = startCapture();
		const reading = shards[0]!.all();
		const dump = await StandInDump.connect(work);
		const out = await dump.file('core-1.img');
		does(dump.fd);
		if (what === 'half a message') dump.close();
		assert.match(await process.ends(1), message);
		out.close();
		assert.not.match(markersIn(await reading).at(-1) ?? '', /image-end/);
		assert.equal(namesIn(work), []);
	});

	command(`extract: ${what}`, async () => {
		const { process, work, shards } = startExtract();
		await shards[0]!.end(streamOf(file(NAME), data('pages'), fileEnd(), imageEnd()));
		const restore = await StandInRestore.connect(work);
		does(restore.fd);
		if (what === 'half a message') restore.close();
		assert.match(await process.ends(1), message);
		assert.equal(namesIn(work), []);
	});
}

command('capture: while a file is open, which stays open on the other side', async () => {
	const { process, work, shards } = startCapture();
	const reading = shards[0]!.all();
	const dump = await StandInDump.connect(work);
	const outs = await Promise.all(['a.img', 'b.img', 'pages-1.img'].map((name) => dump.file(name)));
	await outs[0]!.write(Buffer.alloc(100));
	say(dump.fd, length(2 ** 32 - 1));
	await process.ends(1);
	await reading;
	await until('the pipes to be closed', () =>
		outs[0]!.write(Buffer.alloc(100)).then(
			() => false,
			() => true,
		),
	);
});

command.run();

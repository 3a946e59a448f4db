/** How a capture ends that fails after CRIU has sent everything: nothing stays behind, and the stream has no end. */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { type CaptureJob, capture } from '../../src/capture/capture.js';
import { ConnectedSocket } from '../../src/criu/socket.js';
import { afterwards } from '../support/cleanup.js';
import { content } from '../support/content.js';
import { markersIn } from '../support/markers.js';
import { pipe } from '../support/pipe.js';
import { socketPairs } from '../support/socket-pair.js';
import { StandInDump } from '../support/stand-in.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';

const test = suite('a capture that fails late');

/** Starts a capture into the shard `fd`; `choice` changes its job. */
function start(fd: number, choice: Partial<CaptureJob> = {}) {
	const { near, far } = socketPairs()();
	const criu = new StandInDump(far);
	const failed = capture({
		criu: new ConnectedSocket(near),
		shards: [{ fd, name: 'the shard', stallMillis: 0 }],
		extFiles: [],
		plan: () => ({ references: 'never' }),
		log: { info() {} },
		allowIncomplete: false,
		onStart() {},
		...choice,
	}).then(
		() => assert.unreachable('it succeeded'),
		(error: Error) => error.message,
	);
	return { near, criu, failed };
}

test('its reader ends while the last pages wait: the priority is as before', async () => {
	const before = getPriority();
	const { readEnd, writeEnd } = pipe();
	const { near, criu, failed } = start(writeEnd.fd);
	// More than the shard takes, and little enough to be copied at once.
	await criu.put('pages-1.img', content(1, 1300 << 10));
	await criu.put('inventory.img', 'inventory');
	criu.close();
	readEnd.close();
	assert.match((await failed)!, /broken pipe/);
	assert.is(getPriority(), before);
	assert.throws(() => fstatSync(near), /EBADF/, 'the connection to CRIU is closed');
});

test('it is given up just when the script has asked: a file has no end of the image', async () => {
	const path = join(temporaryDirectory(), 'shard');
	const fd = openSync(path, 'w');
	afterwards(() => closeSync(fd));
	let ask = () => {};
	const asked = new Promise<void>((resolve) => {
		ask = resolve;
	});
	const run = new AbortController();
	const plan = () => ({ references: 'never' as const, asked });
	const { criu, failed } = start(fd, { plan, signal: run.signal });
	await criu.put('a.img', 'a');
	await criu.put('inventory.img', 'inventory');
	await until('the files in the shard', () => markersIn(readFileSync(path)).length === 6);
	ask();
	run.abort(new Error('given up'));
	assert.is(await failed, 'given up');
	assert.not.ok(markersIn(readFileSync(path)).some((marker) => marker.includes('image-end')));
	criu.close();
});

test.run();

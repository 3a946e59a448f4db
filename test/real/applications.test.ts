/** Applications of many kinds, each of which checks its state after its restore. */
import { connect } from 'node:net';
import * as assert from 'uvu/assert';
import { freePort } from '../support/free-port.js';
import { suite } from '../support/suite.js';
import { criuOrSkip } from './programs.js';
import { Scene } from './scene.js';

const test = suite('real CRIU, the application');

test('many threads', async () => {
	const scene = new Scene();
	const application = await scene.start('threads', 64, 8);
	await application.verify();
	const stream = scene.shell('criu-image-streamer capture -W src | criu-image-streamer extract -W dst');
	await scene.pass(application, stream);
	assert.is(application.lines().at(-1), '2: 8 threads, 64 MB, right');
});

for (const release of ['sid', 'experimental'] as const) {
	test(`a tree with pipes, unix sockets and shared memory, CRIU of ${release}`, async () => {
		const scene = new Scene(criuOrSkip(release));
		const application = await scene.start('tree', 'listening');
		await application.verify();
		const stream = scene.shell('criu-image-streamer capture -W src | criu-image-streamer extract -W dst');
		await scene.pass(application, stream);
		await application.verify();
	});
}

test('a listening TCP port that changes', async () => {
	const scene = new Scene();
	const [oldPort, newPort] = [await freePort(), await freePort()];
	const application = await scene.start('listener', oldPort);
	assert.is(await ask(oldPort), `${oldPort} right\n`);
	const capture = scene.shell('criu-image-streamer capture -W src > image');
	await scene.dump(application, capture);
	await capture.ends();

	const wrong = scene.shell('criu-image-streamer extract -W dst --tcp-listen-remap 1:2 < image');
	await wrong.ends(1);
	assert.match(wrong.messages(), new RegExp(`\\b${oldPort}\\b`), 'the error lists the existing ports');

	const extract = scene.shell(
		`criu-image-streamer extract -W dst --tcp-listen-remap ${oldPort}:${newPort} < image`,
	);
	await scene.restore(extract);
	await extract.ends();
	assert.is(await ask(newPort), `${newPort} right\n`);
	let refused = false;
	await ask(oldPort).catch(() => {
		refused = true;
	});
	assert.ok(refused, 'nothing listens at the old port');
});

/** The answer of the listener. */
function ask(port: number): Promise<string> {
	return new Promise((resolve, reject) => {
		let answer = '';
		const socket = connect(port, '127.0.0.1');
		socket.setTimeout(60_000, () => socket.destroy(new Error('no answer')));
		socket.on('data', (data) => {
			answer += data;
		});
		socket.on('end', () => resolve(answer));
		socket.on('error', reject);
	});
}

test.run();

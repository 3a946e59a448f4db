/** The control socket: its clients, those that misbehave too, and when its server may end. */
import { once } from 'node:events';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import * as assert from 'uvu/assert';
import { serveControl } from '../../src/control/server.js';
import { openDescriptors } from '../support/descriptors.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';
import { imageDir, run, Script } from './script.js';
import { asked, connected, controlServer } from './servers.js';

const test = suite('control socket');

test('the socket has mode 0600, and two streamers cannot share a work directory', () => {
	const dir = temporaryDirectory();
	const server = controlServer(dir);
	assert.is(statSync(server.path).mode & 0o777, 0o600);
	assert.throws(() => serveControl(dir, 'capture'), new RegExp(`in use by process ${process.pid}`));
	assert.is(existsSync(server.path), true);
});

test('clients that misbehave do not affect others', async () => {
	const dir = temporaryDirectory();
	const server = connected(dir);
	const seen = imageDir(dir);
	const before = openDescriptors();
	const clients: Socket[] = [];
	const say = async (...bytes: number[]) => {
		const client = connect({ path: server.path, allowHalfOpen: true });
		clients.push(client);
		client.on('error', () => {});
		await once(client, 'connect');
		if (bytes.length) client.write(Buffer.from(bytes));
		return client;
	};
	const closed = (client: Socket) => until('the end', () => client.destroyed || client.readableEnded);
	// Lengths of 4 GB and of 65 bytes, an unknown question, an empty one, and bytes that are not a message.
	for (const bytes of [
		[255, 255, 255, 255],
		[65, 0, 0, 0, 10, 0],
		[2, 0, 0, 0, 0x1a, 0],
		[0, 0, 0, 0],
		[3, 0, 0, 0, 255, 255, 255],
	]) {
		const client = await say(...bytes);
		client.resume();
		await closed(client);
	}
	// Silent clients, and some that stop in the middle of a message.
	for (let i = 0; i < 10; i++) await say();
	for (let i = 0; i < 10; i++) await say(2, 0, 0);
	(await say(2, 0, 0)).end();
	const script = new Script('post-dump', seen);
	await asked(server);
	server.finish();
	await script.succeeds();
	assert.is(server.givenUp.aborted, false);
	// A client that keeps asking and reads no answer.
	const greedy = await say();
	greedy.pause();
	const question = Buffer.from([2, 0, 0, 0, 0x12, 0]);
	const flood = Buffer.concat(Array(10_000).fill(question));
	for (let i = 0; i < 100 && !greedy.destroyed && !greedy.errored; i++) {
		await new Promise((resolve) => greedy.write(flood, resolve));
	}
	assert.is(greedy.errored !== null || greedy.destroyed, true, 'it was disconnected');
	await new Script('post-dump', seen).succeeds();
	for (const client of clients) client.destroy();
	await until('every descriptor is closed', () => openDescriptors() <= before);
});

test('connections over the limit are closed', async () => {
	const dir = temporaryDirectory();
	const server = connected(dir);
	const clients: Socket[] = [];
	for (let i = 0; i < 100; i++) {
		const client = connect(server.path);
		client.on('error', () => {});
		clients.push(client);
		await once(client, 'connect');
	}
	await until('the others are sent away', () => clients.filter(({ destroyed }) => destroyed).length >= 60);
	for (const client of clients) client.destroy();
	server.finish();
	await run('post-dump', dir).succeeds();
});

test('a capture stays for the script as long as CRIU holds its connection', async () => {
	const dir = temporaryDirectory();
	const server = connected(dir);
	let criuCloses = () => {};
	const criuClosed = new Promise<void>((resolve) => (criuCloses = resolve));
	server.finish();
	let left = false;
	const lingering = server.linger(criuClosed).then(() => {
		left = true;
	});
	await run('post-dump', dir).succeeds();
	assert.is(left, false);
	criuCloses();
	await lingering;
	await server.close();
	assert.equal(readdirSync(dir), []);

	// After a failure the capture does not wait for CRIU.
	const failed = connected(dir);
	failed.fail('no space');
	await failed.linger(new Promise(() => {}));
	await run('post-dump', dir).fails(/no space/);
});

test.run();

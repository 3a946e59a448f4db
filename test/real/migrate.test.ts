/** examples/migrate.sh between two hosts. */
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { suite } from '../support/suite.js';
import { until } from '../support/until.js';
import { counter, Hosts, ip, PORT, read, SOURCE, TARGET } from './hosts.js';

const test = suite('migration between two hosts', { together: 4 });

/** The received bytes of the stream when the cable is cut. */
const BYTES_BEFORE_CUT = 10_000;

test('a process that counts, with an open file and a port, goes to the target', async () => {
	const hosts = new Hosts();
	await hosts.setUp();
	assert.ok(hosts.ask(SOURCE));
	assert.is(hosts.ask(TARGET), undefined);
	hosts.migrate();
	await hosts.ends(0);
	await until('the end of the process on the source', () => !read(`/proc/${hosts.pid}/comm`));
	await hosts.counts();
	assert.ok(hosts.ask(TARGET));
	assert.is(hosts.ask(SOURCE), undefined);
	assert.is(hosts.processesThere.filter((line) => line.includes('counter.pl')).length, 1);
});

test('a cable that is cut in the middle: the process stays', async () => {
	const hosts = new Hosts();
	await hosts.setUp();
	// The target reads nothing more before the dump begins, so that the cut is before the end at any speed.
	writeFileSync(join(hosts.directory, 'wait'), '');
	hosts.migrate();
	await hosts.says('socket-init');
	const receiver = hosts.receiver();
	process.kill(receiver, 'SIGSTOP');
	spawnSync('rm', [join(hosts.directory, 'wait')]);
	await hosts.says('checkpoint-start');
	await until('a part of the stream', () => {
		const queues = [...read(`/proc/${receiver}/net/tcp`).matchAll(/ 01 [0-9A-F]{8}:([0-9A-F]{8}) /g)];
		return queues.some(([, waiting]) => Number.parseInt(waiting!, 16) > BYTES_BEFORE_CUT);
	});
	ip('-n', hosts.source, 'link', 'set', 'cable', 'down');
	process.kill(receiver, 'SIGCONT');
	await hosts.stays();
});

test('a port that is in use on the target: the process stays', async () => {
	const hosts = new Hosts();
	await hosts.setUp();
	const other = join(hosts.directory, 'other');
	const taker = hosts.start(hosts.onTarget, ...counter, other, PORT, 1);
	await until('the other one', () => read(other) !== '');
	hosts.migrate();
	await hosts.ends(1);
	assert.match(hosts.output, /Address already in use/);
	process.kill(-taker.pid!, 'SIGKILL');
	await hosts.stays();
});

test('a restore whose success is not reported: the process stays, and its copy is ended', async () => {
	const hosts = new Hosts();
	await hosts.setUp();
	writeFileSync(join(hosts.directory, 'lie'), '');
	hosts.migrate();
	await hosts.stays();
});

test.run();

/** Which CRIUs are served, and which action scripts belong to them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { isAlive, type Lineage, lineageOf, processOf } from '../../src/control/lineage.js';
import { Slots } from '../../src/control/slots.js';
import { commandLineOf } from '../../src/criu/command-line.js';
import { afterwards } from '../support/cleanup.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';

const test = suite('slots');
const UNSEEN: Lineage = [];

/** A process with the command line `criu dump -t 7`, and a child of it as its script. */
async function criu(): Promise<{ pid: number; script: Lineage; end(): Promise<void> }> {
	const path = join(temporaryDirectory(), 'criu');
	symlinkSync('/bin/sh', path);
	const child = spawn(path, ['-c', 'sleep 1000 & echo $!; wait', 'dump', '-t', '7'], {
		stdio: ['ignore', 'pipe', 'inherit'],
		detached: true,
	});
	const [out] = await once(child.stdout!, 'data');
	const end = () => endGroup(child);
	afterwards(end);
	// Until it executes sleep, the forked shell has the command line of its parent.
	await until('the script', () => commandLineOf(Number(out))[0] === 'sleep');
	return { pid: child.pid!, script: lineageOf(Number(out)), end };
}

async function endGroup(child: ChildProcess): Promise<void> {
	if (child.exitCode !== null || child.signalCode !== null) return;
	const exit = once(child, 'exit');
	process.kill(-child.pid!, 'SIGKILL');
	await exit;
}

test('a process, its parent, and so on', async () => {
	const { pid, script } = await criu();
	assert.equal(
		script.slice(1, 3).map((one) => one.pid),
		[pid, process.pid],
	);
	assert.equal(lineageOf(pid), script.slice(1));
	assert.equal(lineageOf(0), []);
	assert.equal(lineageOf(2 ** 30), []);
});

test('a process that has ended is not alive, although its pid still exists', async () => {
	const child = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 1000'], {
		stdio: ['ignore', 'pipe', 'inherit'],
		detached: true,
	});
	afterwards(() => endGroup(child));
	const [out] = await once(child.stdout!, 'data');
	const zombie = processOf(Number(out));
	// Its parent never reaps it.
	await until('its end', () => !isAlive(zombie));
	assert.is(processOf(zombie.pid).start, zombie.start);
	assert.is(isAlive(processOf(process.pid)), true);
	assert.is(isAlive({ ...processOf(process.pid), start: '1' }), false, 'the pid was reused');
});

test('another script is refused, naming the CRIU that has the claim or is connected', async () => {
	const [one, two] = [await criu(), await criu()];
	const slots = new Slots('capture', 1);
	assert.is(slots.claim(one.script), undefined);
	assert.match(
		slots.claim(two.script)!,
		`this capture waits for the dump of process ${one.pid} (criu -c sleep 1000`,
	);
	assert.is(slots.claim(one.script), undefined, 'its own may ask again');
	slots.connect(one.pid);
	assert.match(slots.claim(two.script)!, `this capture serves the dump of process ${one.pid} (criu`);
	assert.match(slots.claim(two.script)!, 'with another work directory');
	assert.is(slots.serves(one.script), true);
	assert.is(slots.serves(two.script), false);
	assert.is(slots.hasScriptOf(one.pid), true);
	assert.is(slots.hasScriptOf(two.pid), false);
	await one.end();
	assert.match(slots.claim(two.script)!, `serves the dump of process ${one.pid} (criu`);
});

test('the claim of a CRIU that ended before it connected is free again', async () => {
	const [one, two] = [await criu(), await criu()];
	const slots = new Slots('capture', 1);
	assert.is(slots.claim(one.script), undefined);
	await one.end();
	assert.is(slots.claim(two.script), undefined);
	slots.connect(two.pid);
	assert.is(slots.hasScriptOf(two.pid), true);
});

test('the first CRIU that connects is served, and scripts of others are refused', async () => {
	const [one, two] = [await criu(), await criu()];
	const slots = new Slots('capture', 1);
	assert.is(slots.claim(one.script), undefined);
	slots.connect(two.pid);
	assert.is(slots.serves(one.script), false);
	assert.match(slots.claim(one.script)!, `serves the dump of process ${two.pid}`);
	assert.is(slots.hasScriptOf(two.pid), false);
	assert.is(slots.claim(two.script), undefined, 'a script that comes late');
	assert.is(slots.hasScriptOf(two.pid), true);
});

test('the expected number of CRIUs is served', async () => {
	const [one, two, three] = [await criu(), await criu(), await criu()];
	const slots = new Slots('serve', 2);
	assert.is(slots.claim(one.script), undefined);
	assert.is(slots.claim(two.script), undefined);
	const refusal = slots.claim(three.script)!;
	assert.match(refusal, `waits for the restore of process ${one.pid}`);
	assert.match(refusal, 'and 1 more');
	assert.match(refusal, 'serve more CRIUs');
	slots.connect(two.pid);
	assert.is(slots.serves(two.script), true);
	assert.is(slots.serves(one.script), false);
	slots.connect(one.pid);
	assert.is(slots.serves(one.script), true);
});

test('a wrapper between CRIU and the script', async () => {
	const one = await criu();
	const wrapped = [{ pid: 2 ** 30, start: '5' }, ...one.script];
	const slots = new Slots('capture', 1);
	assert.is(slots.claim(wrapped), undefined);
	slots.connect(one.pid);
	assert.is(slots.serves(wrapped), true);
	assert.is(slots.hasScriptOf(one.pid), true);
});

test('processes that cannot be seen match only each other', async () => {
	const one = await criu();
	const unseen = new Slots('capture', 1);
	assert.is(unseen.claim(UNSEEN), undefined);
	unseen.connect(0);
	assert.is(unseen.serves(UNSEEN), true);
	assert.is(unseen.serves(one.script), false);
	assert.match(unseen.claim(one.script)!, 'a process that cannot be seen from here');
	const seen = new Slots('capture', 1);
	seen.connect(one.pid);
	assert.is(seen.serves(UNSEEN), false);
	assert.match(seen.claim(UNSEEN)!, `process ${one.pid}`);
});

test.run();

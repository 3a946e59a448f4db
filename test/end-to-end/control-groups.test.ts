/** A replay under the limit of a control group: page cache does not count, and the spool is used in time. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { kill } from 'node:process';
import * as assert from 'uvu/assert';
import { afterwards } from '../support/cleanup.js';
import { content } from '../support/content.js';
import { data, file, fileEnd, imageEnd, streamOf } from '../support/markers.js';
import { StandInRestore } from '../support/stand-in.js';
import { ours, type Program, Streamer } from '../support/streamer.js';
import { skipImpossible, suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';

const MB = 1 << 20;
const FILES = 3;
const PART = content(7, 64 * MB);
const stream = streamOf(
	...Array.from({ length: FILES }, (_, i) => [file(`pages-${i}.img`), data(PART), fileEnd()]).flat(),
	imageEnd(),
);

const test = suite('control groups');

/** Starts a replay by `program`, which makes the image its stdin. */
function start(program: Program, args: string[] = []) {
	const work = temporaryDirectory();
	return { work, process: new Streamer(['--work-dir', work, '-v', ...args, 'extract'], { program }) };
}

/** Lets the stand-in for CRIU read the whole image; returns the messages. */
async function restored(started: ReturnType<typeof start>): Promise<string> {
	const restore = await StandInRestore.connect(started);
	for (let i = 0; i < FILES; i++)
		assert.ok((await restore.read(`pages-${i}.img`))?.equals(PART), `pages-${i}.img is what was sent`);
	restore.close();
	return started.process.ends();
}

/** The image as a file: the writer of a pipe is charged for its pages, and this process is not in the group. */
function imageFile(): string {
	const path = join(temporaryDirectory(), 'image');
	writeFileSync(path, stream);
	return path;
}

/** Runs `setUp` in a new mount namespace before the command; skips the test where that is not permitted. */
function inNamespace(setUp: string): Program {
	const namespace = ['unshare', '--mount', '--propagation', 'private', 'bash', '-c'] as const;
	const tried = spawnSync(namespace[0], [...namespace.slice(1), setUp], { encoding: 'utf8' });
	if (tried.status !== 0) skipImpossible(`no mount namespace can be made: ${tried.stderr || tried.error}`);
	return [...namespace, `${setUp} && cat ${imageFile()} | "$@"`, 'bash', ...ours];
}

/** Mounts a tmpfs in place of the control groups, with the files of a group of version 2. */
function groupOf(stat: string): string {
	return [
		'mount -t tmpfs none /sys/fs/cgroup',
		`echo ${2048 * MB} > /sys/fs/cgroup/memory.max`,
		`echo ${2048 * MB} > /sys/fs/cgroup/memory.current`,
		`printf '${stat}' > /sys/fs/cgroup/memory.stat`,
	].join(' && ');
}

test('a group full of page cache: the image is held in memory', async () => {
	const messages = await restored(start(inNamespace(groupOf(`anon 100\\ninactive_file ${1900 * MB}\\n`))));
	assert.not.match(messages, /memory is short/);
});

test('a group full of unreclaimable memory: an error with that reason', async () => {
	const { process } = start(inNamespace(groupOf('anon 1\\n')));
	assert.match(await process.ends(1), /memory is short: .* MiB are free.*--spool DIR/);
});

/** Far less than the image, and enough for Node. */
const LIMIT = 144 * MB;

/**
 * A new group with a limit, of the version that has the memory controller here; skips the test where none can be created.
 */
function limitedGroup(): string {
	const [version2, version1] = ['/sys/fs/cgroup', '/sys/fs/cgroup/memory'];
	const top = existsSync(join(version1, 'memory.limit_in_bytes')) ? version1 : version2;
	const group = join(top, `criu-streamer-test-${process.pid}`);
	try {
		mkdirSync(group);
		afterwards(async () => {
			const inside = () => readFileSync(join(group, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean);
			for (const pid of inside()) kill(Number(pid), 'SIGKILL');
			await until('the group to be empty', () => inside().length === 0);
			rmdirSync(group);
		});
		writeFileSync(join(group, top === version1 ? 'memory.limit_in_bytes' : 'memory.max'), String(LIMIT));
	} catch (error) {
		skipImpossible(`no control group with a limit on memory can be made: ${error}`);
	}
	return group;
}

const inGroup = (group: string): Program => [
	'bash',
	'-c',
	`echo $$ > ${group}/cgroup.procs && cat ${imageFile()} | "$@"`,
	'bash',
	...ours,
];

for (const keep of [false, true]) {
	test(`a limit far below the image, with --spool${keep ? ' and --keep' : ''}: the whole image is received`, async () => {
		const spool = temporaryDirectory();
		const args = ['--spool', spool, ...(keep ? ['--keep'] : [])];
		const messages = await restored(start(inGroup(limitedGroup()), args));
		assert.match(messages, /memory is short: .*the rest goes to/);
		assert.equal(readdirSync(spool), []);
	});
}

test('a limit far below the image, without --spool: an error, not a kill', async () => {
	const { process } = start(inGroup(limitedGroup()));
	assert.match(await process.ends(1), /memory is short: .* MiB are free.*--spool DIR/);
});

test.run();

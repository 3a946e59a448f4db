// Every example of docs/partners.md, with the real tools.
import { mkdirSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { afterwards } from '../support/cleanup.js';
import { freePort } from '../support/free-port.js';
import { suite } from '../support/suite.js';
import { need } from '../support/tools.js';
import { examplesOf, Stage } from './examples.js';
import { startS3, startSshd } from './servers.js';

const test = suite('partners', { together: 2 });
const examples = examplesOf('docs/partners.md');
const tested = new Set(['']);

/** Registers the test of the example below a heading. */
function testOf(heading: string, body: () => Promise<void>): void {
	tested.add(heading);
	test(heading, body);
}

/** A stage, and the example below `heading` of the document with the setup of all examples. */
function example(heading: string): { stage: Stage; script: string } {
	const code = examples.get(heading);
	assert.ok(code, `docs/partners.md has no example below ## ${heading}`);
	return { stage: new Stage(), script: `${examples.get('')}${code}` };
}

function firstBytes(path: string, bytes: number): string {
	const start = Buffer.alloc(bytes);
	readSync(openSync(path, 'r'), start);
	return start.toString('latin1');
}

/** The first bytes of the output file of a filter, for the filters that need no further setup. */
const filters = {
	lz4: { commands: ['lz4'], file: 'image.lz4', start: '\x04\x22\x4d\x18' },
	zstd: { commands: ['zstd'], file: 'image.zst', start: '\x28\xb5\x2f\xfd' },
	age: { commands: ['age', 'age-keygen'], file: 'image.age', start: 'age-encryption.org/v1' },
	openssl: { commands: ['openssl'], file: 'image.enc', start: 'Salted__' },
	mbuffer: { commands: ['mbuffer'], file: 'image', start: '' },
	pv: { commands: ['pv'], file: undefined, start: '' },
};

for (const [heading, { commands, file, start }] of Object.entries(filters)) {
	testOf(heading, async () => {
		need(...commands);
		const { stage, script } = example(heading);
		await stage.succeeds(script);
		assert.equal(stage.log, ['dumped', 'restored']);
		if (file) assert.is(firstBytes(join(stage.directory, file), start.length), start);
	});
}

testOf('gpg', async () => {
	need('gpg', 'gpgconf');
	const { stage, script } = example('gpg');
	const home = join(stage.directory, 'gnupg');
	mkdirSync(home, { mode: 0o700 });
	stage.env.GNUPGHOME = home;
	afterwards(() => stage.run('gpgconf --kill all'));
	await stage.succeeds(
		`gpg --batch --quiet --passphrase '' --quick-gen-key target@example.org default default`,
	);
	await stage.succeeds(script);
	assert.equal(stage.log, ['dumped']);
	for (const name of ['pages-1.img', 'pages-2.img', 'core-1.img', 'inventory.img']) {
		const content = readFileSync(join(stage.directory, 'images', name));
		assert.ok(content.equals(readFileSync(join(stage.directory, 'dumped', name))), name);
	}
});

testOf('socat', async () => {
	need('socat');
	const { stage, script } = example('socat');
	const port = await freePort();
	const here = script.replaceAll('bind=target', 'bind=127.0.0.1').replaceAll('target:7000', '127.0.0.1:7000');
	await stage.succeeds(here.replaceAll('7000', String(port)));
	assert.equal(stage.log, ['dumped', 'restored']);
});

for (const heading of ['ssh', 'ssh, four at once', 'ssh with a receipt']) {
	testOf(heading, async () => {
		need('ssh', 'ssh-keygen', 'sshd');
		const { stage, script } = example(heading);
		await startSshd(stage);
		await stage.succeeds(script);
		assert.equal(stage.log, ['dumped', 'restored']);
	});
}

test('the process lives when the remote end of ssh fails', async () => {
	need('ssh', 'ssh-keygen', 'sshd');
	const { stage, script } = example('ssh');
	await startSshd(stage);
	const remote = 'criu-image-streamer --work-dir /run/job-7 extract';
	assert.ok(script.includes(remote));
	const { code, output } = await stage.run(script.replace(remote, 'head -c 1000000 ">" /dev/null'));
	assert.is.not(code, 0);
	assert.match(output, /criu-image-streamer: /);
	assert.equal(stage.log, []);
	assert.ok(stage.lives);
});

testOf('tar', async () => {
	need('tar', 'lz4');
	const { stage, script } = example('tar');
	const app = join(stage.directory, 'srv', 'app');
	mkdirSync(join(app, 'inner'), { recursive: true });
	const data = Buffer.alloc(3_000_000, 'data of the application ');
	writeFileSync(join(app, 'inner', 'data'), data);
	const [dump, restore] = script.split('mkfifo files\n');
	await stage.succeeds(dump!);
	rmSync(app, { recursive: true });
	await stage.succeeds(`mkfifo files\n${restore}`);
	assert.equal(stage.log, ['dumped', 'restored']);
	assert.ok(readFileSync(join(app, 'inner', 'data')).equals(data));
});

test('tar reads nothing before the process is frozen, and CRIU starts after tar has unpacked everything', async () => {
	need('tar', 'lz4');
	const { stage, script } = example('tar');
	const app = join(stage.directory, 'srv', 'app');
	mkdirSync(app);
	// Each tar records the state at its time: whether the process is frozen, and whether CRIU has restored.
	stage.provide('state', 'sh', '-c', 'grep State: /proc/$PID/status > "$0"/srv/app/state', stage.directory);
	stage.provide('unpacked', 'sh', '-c', 'echo unpacked >> "$STAND_IN_LOG"');
	await stage.succeeds(
		script
			.replace('tar -C /srv/app -c', 'state; tar -C /srv/app -c')
			.replace('-x < files', '-x < files; unpacked'),
	);
	assert.match(readFileSync(join(app, 'state'), 'utf8'), /stopped/);
	assert.equal(stage.log, ['dumped', 'unpacked', 'restored']);
});

testOf('S3', async () => {
	need('s3cmd', 'lz4');
	const { stage, script } = example('S3');
	await startS3(stage);
	await stage.succeeds(script);
	assert.equal(stage.log, ['dumped', 'restored']);
	const listed = await stage.succeeds('s3cmd ls s3://images/job-7/');
	const sizes = listed
		.trim()
		.split('\n')
		.map((line) => Number(line.split(/\s+/)[2]));
	assert.is(sizes.length, 3, listed);
	assert.ok(sizes.reduce((sum, size) => sum + size) > 12_000_000, listed);
});

test('every example of the document has its test', () => {
	const headings = [...examples.keys()];
	assert.equal(
		headings.filter((heading) => !tested.has(heading)),
		[],
	);
});

test.run();

// The examples of README.md, run as written: with a real CRIU where one can run, else with the stand-in.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { findCriu } from '../../examples/find-criu.js';
import { definitions } from '../../src/options/definitions.js';
import { examplesOf, Stage } from '../partners/examples.js';
import { startS3, startSshd } from '../partners/servers.js';
import { afterwards } from '../support/cleanup.js';
import { suite } from '../support/suite.js';
import { need } from '../support/tools.js';
import { until } from '../support/until.js';

const test = suite('README.md');
const root = fileURLToPath(new URL('../..', import.meta.url));
const readme = readFileSync(join(root, 'README.md'), 'utf8');
const documents = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'));
/** The code before the first example is shared by all of them. */
const examples = examplesOf('README.md', '### ');
const criu = findCriu();

/** Runs an example, and checks that the process continues from its state: it keeps counting, or its whole image is there. */
async function run(stage: Stage, heading: string, prepare = ''): Promise<void> {
	const code = examples.get(heading);
	assert.ok(code, `README.md has no example ${heading}`);
	afterwards(() => {
		// A restored process is not a child of this process.
		const pid = Number(
			existsSync(join(stage.directory, 'pid')) && readFileSync(join(stage.directory, 'pid'), 'utf8'),
		);
		if (pid && existsSync(`/proc/${pid}`)) process.kill(pid, 'SIGKILL');
	});
	const count = () => readFileSync(join(stage.directory, 'count'), 'utf8').split('\n').slice(0, -1);
	const counts = 'echo $PID > pid; until grep -q 3 count; do sleep 0.05; done';
	await stage.succeeds(`set -o pipefail\n${examples.get('')}${counts}\n${prepare}\n${code}`);
	if ('path' in criu) {
		const before = count().length;
		await until('the process to keep counting', () => count().length > before + 3);
		const numbers = count();
		assert.equal(
			numbers,
			numbers.map((_, i) => String(i + 1)),
		);
	} else assert.equal(stage.log, ['dumped', 'restored']);
}

function stage(): Stage {
	return new Stage('path' in criu ? criu.path : undefined);
}

test('Compressed, to a file', async () => {
	need('lz4', 'perl');
	await run(stage(), 'Compressed, to a file');
});

test('To another host, over ssh', async () => {
	need('ssh', 'sshd', 'ssh-keygen', 'perl');
	const here = stage();
	await startSshd(here);
	await run(here, 'To another host, over ssh');
});

test('To files', async () => {
	need('perl');
	const here = stage();
	await run(here, 'To files');
	assert.ok(existsSync(join(here.directory, 'images', 'inventory.img')));
});

test('To S3, in three shards', async () => {
	need('s3cmd', 'lz4', 'perl');
	const here = stage();
	await startS3(here);
	await run(here, 'To S3, in three shards');
});

test('With the files of the process', async () => {
	need('tar', 'perl');
	const here = stage();
	const app = join(here.directory, 'srv', 'app');
	mkdirSync(app);
	writeFileSync(join(app, 'data'), 'of the process');
	const heading = 'With the files of the process';
	const [dump, restore] = examples.get(heading)!.split('mkfifo files\n');
	examples.set(heading, `${dump}rm /srv/app/data\nmkfifo files\n${restore}`);
	await run(here, heading);
	assert.is(readFileSync(join(app, 'data'), 'utf8'), 'of the process');
});

test('every example is tested', () => {
	assert.is(examples.size, 6);
});

test('every document is named', () => {
	for (const name of documents) assert.ok(readme.includes(`(docs/${name})`), name);
});

test('every option is in the table', () => {
	const table = readme.slice(readme.indexOf('## Options'), readme.indexOf('## Documentation'));
	for (const [name, { alias }] of Object.entries(definitions)) {
		const isThere = table.includes(`--${name}`) || (alias && table.includes(`\`-${alias}`));
		const family = name.startsWith('tls-') && table.includes('--tls-…');
		assert.ok(isThere || family || (name === 'verbosity' && table.includes('`-v`')), name);
	}
});

for (const document of ['README.md', ...documents.map((name) => `docs/${name}`)]) {
	test(`every link of ${document} has a target`, () => {
		const text = readFileSync(join(root, document), 'utf8');
		for (const [, target] of text.matchAll(/\]\(([^)#]+)[^)]*\)/g)) {
			if (target!.includes('://')) continue;
			assert.ok(existsSync(join(root, dirname(document), target!)), target);
		}
	});
}

test.run();

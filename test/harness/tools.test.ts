// A command that is not installed is taken from Debian's archive, or its tests are skipped with a reason. The tests use
// their own archive, which has the package age, and a PATH without that command.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { runFile } from '../support/runner.js';
import { skip, suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { installed } from '../support/tools.js';

const test = suite('tools of others');
const path = (relative: string) => JSON.stringify(fileURLToPath(new URL(relative, import.meta.url)));

/** A PATH with the machine's commands, except for `names`. */
function pathWithout(...names: string[]): string {
	const directory = temporaryDirectory();
	for (const name of readdirSync('/usr/bin'))
		if (!names.includes(name)) symlinkSync(join('/usr/bin', name), join(directory, name));
	return directory;
}

/** Creates a package with one command. */
function pack(archive: string, name: string, command: string, depends: string): string {
	const tree = join(temporaryDirectory(), 'tree');
	mkdirSync(join(tree, 'DEBIAN'), { recursive: true });
	mkdirSync(join(tree, 'usr/bin'), { recursive: true });
	writeFileSync(join(tree, 'usr/bin', name), command, { mode: 0o755 });
	const control =
		`Package: ${name}\nVersion: 9:9\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\n` +
		`${depends && `Depends: ${depends}\n`}Description: for a test\n`;
	writeFileSync(join(tree, 'DEBIAN/control'), control);
	const file = join(archive, `${name}.deb`);
	execFileSync('dpkg-deb', ['--root-owner-group', '--build', tree, file], { stdio: 'pipe' });
	const sum = createHash('sha256').update(readFileSync(file)).digest('hex');
	return `${control}Filename: ./${name}.deb\nSize: ${statSync(file).size}\nSHA256: ${sum}\n`;
}

/** A configuration of apt with only one archive. */
function aptConfig(archive: string): string {
	const directory = temporaryDirectory();
	writeFileSync(join(directory, 'sources.list'), `deb [trusted=yes] file:${archive} ./\n`);
	writeFileSync(
		join(directory, 'apt.conf'),
		`Dir::Etc::SourceList "${directory}/sources.list"; Dir::Etc::SourceParts "/dev/null";\n`,
	);
	return join(directory, 'apt.conf');
}

/** An archive with age, whose interpreter is in another package. */
function archiveOfAge(): string {
	const archive = temporaryDirectory();
	const packages = [
		pack(archive, 'age', '#!/usr/bin/streamer-interpreter word\nargument\n', 'streamer-interpreter'),
		pack(archive, 'streamer-interpreter', '#!/bin/sh\necho "got $1 $3 of $(basename "$2")"\n', ''),
	];
	writeFileSync(join(archive, 'Packages'), packages.join('\n'));
	return archive;
}

/** Runs a file with one test, which needs age and stores its output. */
async function run(env: Record<string, string>) {
	const directory = temporaryDirectory();
	const file = join(directory, 'fixture.mts');
	writeFileSync(
		file,
		`import { spawnSync } from 'node:child_process';
		import { writeFileSync } from 'node:fs';
		import { suite } from ${path('../support/suite.ts')};
		import { need } from ${path('../support/tools.ts')};
		const test = suite('fixture');
		test('encrypts', () => {
			need('age');
			writeFileSync(${JSON.stringify(join(directory, 'printed'))}, spawnSync('age', ['more']).stdout);
		});
		test.run();`,
	);
	const tools = env.CRIU_STREAMER_TOOLS ?? join(directory, 'tools');
	const before = { ...process.env };
	Object.assign(process.env, { CI: '', DEBIAN_MIRROR: '', ...env, CRIU_STREAMER_TOOLS: tools });
	const result = await runFile(file, 200).finally(() => {
		process.env = before;
	});
	return { ...result, printed: () => readFileSync(join(directory, 'printed'), 'utf8'), tools };
}

function needApt(): void {
	if (!installed('apt-get')) skip('there is no apt-get, without which nothing can be got');
}

test('a missing command is fetched with its dependencies, and nothing is installed', async () => {
	needApt();
	const list = () => spawnSync('dpkg-query', ['-W'], { encoding: 'utf8' }).stdout;
	const before = list();
	const PATH = pathWithout('age');
	const env = { PATH, APT_CONFIG: aptConfig(archiveOfAge()) };
	const first = await run(env);
	assert.equal([first.failures, first.skipped], [[], []], first.output);
	assert.is(first.printed(), 'got word more of age\n');
	assert.is(list(), before);
	assert.not(installed('streamer-interpreter'));
	// The next time it is there, without an archive.
	const second = await run({ ...env, APT_CONFIG: '/dev/null', CRIU_STREAMER_TOOLS: first.tools });
	assert.is(second.passed, 1, second.output);
	assert.is(second.printed(), first.printed());
});

for (const ci of ['', '1']) {
	test(`without apt its tests are ${ci ? 'failures in CI' : 'skipped with a reason'}`, async () => {
		const result = await run({ PATH: pathWithout('age', 'apt-get'), CI: ci });
		const why = /age is not installed, and cannot be got: .*apt-get is not here/;
		const reported = ci ? result.failures : result.skipped.map(({ test, reason }) => `${test}: ${reason}`);
		assert.is(reported.length, 1, result.output);
		assert.match(reported[0]!, why);
		assert.match(reported[0]!, /^fixture: encrypts: /);
		assert.is(result.failures.length, ci ? 1 : 0);
	});
}

test('an archive without the package, and an absent archive: skipped, and the next test does not wait', async () => {
	needApt();
	const PATH = pathWithout('age');
	const archive = temporaryDirectory();
	writeFileSync(join(archive, 'Packages'), '');
	const without = await run({ PATH, APT_CONFIG: aptConfig(archive) });
	assert.match(without.skipped[0]?.reason ?? '', /this machine's Debian has no age/);
	const env = { PATH, APT_CONFIG: aptConfig('/nonexistent') };
	const absent = await run(env);
	assert.match(absent.skipped[0]?.reason ?? '', /archive could not be reached, check the network: E: /);
	const again = await run({ ...env, CRIU_STREAMER_TOOLS: absent.tools });
	assert.match(again.skipped[0]?.reason ?? '', /could not be reached less than 10 minutes ago/);
	assert.equal(
		readdirSync(absent.tools).filter((name) => name.startsWith('.new')),
		[],
	);
});

test.run();

/** References to the application's pages are used only where it surely dies after the dump. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import * as assert from 'uvu/assert';
import { commandLineOf } from '../../src/criu/command-line.js';
import { configPaths, dumpKind, dumpKindOf } from '../../src/criu/dump-kind.js';
import { afterwards } from '../support/cleanup.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';

const test = suite('references or copies');

/** Words of a command line; a word in quotes may have spaces. */
const words = (line: string) =>
	[...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare!);

const dies = [
	'criu dump -t 5 -D work --stream',
	'/usr/sbin/criu dump --tree 5 --images-dir work --stream --shell-job',
	'criu -t 5 -D work --stream dump',
	'criu dump -D dump -t 5 --stream',
	'criu-4.2 dump -t 5 --stream',
	'/lib64/ld-linux-x86-64.so.2 --library-path /opt/lib /opt/criu/sbin/criu dump -t 5 --stream',
	'/opt/lib/ld-linux-x86-64.so.2 --library-path /opt/criu /opt/criu/criu dump -t 5 --stream',
	'/lib/ld-musl-x86_64.so.1 /opt/criu dump -t 5 --stream',
	// Letters after one that takes a value are the value: a verbosity of "R" is 0.
	'criu dump -jlt5 -vR --stream',
	'criu dump -t 5 -v4 -oRs.log --stream',
	'criu dump -t 5 -o R --stream',
	'criu dump -t 5 --stream --action-script /usr/bin/criu-streamer-hook',
	'criu dump -t 5 --stream --action-script=/a/b/criu-streamer-hook',
	'criu dump -t 5 --stream --action criu-streamer-hook',
	'criu dump -t 5 --stream --log-file leave-running',
	'criu dump -t 5 --stream --link-remap --libdir /usr/lib/criu',
];
for (const line of dies) {
	test(`references: ${line}`, () => {
		const { dies, why } = dumpKind(words(line), ['', '# leave-running\n\ntcp-established\n']);
		assert.is(dies, true, why);
		assert.match(why, /dies/);
	});
}

const lives: [line: string, why: RegExp][] = [
	['criu dump -t 5 --stream --leave-running', /--leave-running/],
	['criu dump -t 5 --stream -R', /-R/],
	['criu -R -t 5 --stream dump', /-R/],
	['criu dump -t 5 --stream -jR', /-R/],
	['criu dump -t 5 --stream -Rj', /-R/],
	['criu dump -Rv4 -t 5 --stream', /-R/],
	['criu dump -t 5 --stream --leave-run', /--leave-run/],
	['criu dump -t 5 --stream --leave-r', /--leave-r/],
	['criu dump -t 5 --stream --leave', /--leave/],
	['criu dump -t 5 --stream --leave-running=yes', /--leave-running/],
	['criu dump -t 5 --stream --leave-stopped', /--leave-stopped/],
	['criu dump -t 5 --stream -s', /-s/],
	['criu dump -t 5 --stream -- -R', /-R/],
	['criu dump -t 5 -o -R --stream', /-R/],
	['criu dump -t 5 --stream --lazy-pages', /--lazy-pages/],
	['criu dump -t 5 --stream -Q', /unknown option -Q/],
	['criu dump -t 5 --stream --action-script /usr/bin/copy-files', /copy-files/],
	['criu dump -t 5 --stream --action-script=/usr/bin/criu-streamer-hook.sh', /criu-streamer-hook\.sh/],
	['criu dump --stream --action-script /b/criu-streamer-hook --action-script other', /other/],
	['criu dump --stream --act other', /other/],
	['criu dump --stream --action-script', /action script/],
	['criu pre-dump -t 5 --stream', /pre-dump/],
	['criu pre-dump -t 5 --stream -D dump', /several/],
	['criu dump -t 5 --stream -D pre-dump', /several/],
	['criu cpuinfo dump --stream', /several/],
	['criu swrk 3', /swrk/],
	['criu service --address x', /service/],
	['criu restore --stream', /restore/],
	['criu --stream', /several|plainly/],
	['"criu: dump --rpc -t 5"', /RPC/],
	['"criu: pre-dump --rpc -t 5"', /RPC/],
	['python3 dump', /not known to be CRIU/],
	['qemu-aarch64 /usr/sbin/criu dump -t 5', /not known to be CRIU/],
	['/lib64/ld-linux-x86-64.so.2 /bin/dump dump', /not known to be CRIU/],
	['', /not known to be CRIU/],
];
for (const [line, reason] of lives) {
	test(`copies: ${line || '(no command line)'}`, () => {
		const { dies, why } = dumpKind(words(line), []);
		assert.is(dies, false, why);
		assert.match(why, reason);
		assert.not.match(why, /\n/);
	});
}

const risky = [
	'leave-running',
	'  leave-running  ',
	'\tleave-running # as always',
	'leave-running\r',
	'leave-r',
	'leave-running=1',
	'tcp-established\nleave-running\n',
	'leave-stopped',
	'shell-job -R',
	'shell-job "-R"',
	'shell-job\t-sj',
	'lazy-pages',
	'action-script /usr/bin/other',
	'action-script "/usr/bin/criu-streamer-hook other"',
];
for (const text of risky) {
	test(`copies: the configuration ${JSON.stringify(text)}`, () => {
		const { dies, why } = dumpKind(words('criu dump -t 5 --stream'), ['stream\n', text]);
		assert.is(dies, false, why);
		assert.match(why, /configuration file/);
	});
}

const harmless = [
	'# leave-running',
	'   #leave-running',
	'log-file leave-running',
	'tcp-established # not leave-running',
	'action-script /usr/bin/criu-streamer-hook # waits',
	'action-script "/opt/my tools/criu-streamer-hook"',
	'\n\n\nverbosity 4\n',
];
for (const text of harmless) {
	test(`references: the configuration ${JSON.stringify(text)}`, () => {
		const { dies, why } = dumpKind(words('criu dump -t 5 --stream'), [text]);
		assert.is(dies, true, why);
	});
}

test('whether an action script may ask', () => {
	const asks = (line: string, ...configs: string[]) => dumpKind(words(line), configs).script;
	assert.is(asks('criu dump -t 5 --stream', 'tcp-established\n# action-script x\n'), false);
	assert.is(asks('criu dump -t 5 --stream -R --lazy-pages'), false);
	assert.is(asks('criu dump --action-script /usr/bin/criu-streamer-hook'), true);
	assert.is(asks('criu dump --action=/usr/bin/criu-streamer-hook'), true);
	assert.is(asks('criu dump -R --action-script my-script'), true);
	assert.is(asks('criu dump', 'stream\n', 'action-script criu-streamer-hook\n'), true);
	assert.is(asks('criu swrk 3'), true);
	assert.is(asks('"criu: dump --rpc -t 5"'), true);
	assert.is(asks(''), true);
	assert.is(dumpKindOf(0).script, true);
});

test('the configuration files that CRIU may read', () => {
	const paths = (line: string, environ: Record<string, string> = {}) =>
		configPaths(words(line), new Map(Object.entries(environ)));
	const usual = ['/etc/criu/default.conf'];
	assert.equal(paths('criu dump'), usual);
	assert.equal(paths('criu dump', { HOME: '/root' }), [...usual, '/root/.criu/default.conf']);
	assert.equal(paths('criu dump --config /a'), [...usual, '/a']);
	assert.equal(paths('criu --config=/a dump --config /b'), [...usual, '/a', '/b']);
	assert.equal(paths('criu dump', { CRIU_CONFIG_FILE: '/c' }), [...usual, '/c']);
	assert.equal(paths('criu dump --no-default-config', { HOME: '/root', CRIU_CONFIG_FILE: '/c' }), ['/c']);
	assert.equal(paths('criu dump --no-default-config --config /a'), ['/a']);
	assert.equal(paths('criu dump --config'), [...usual, '']);
});

/** A process with the command line of CRIU, started through a loader; it only waits. */
async function pretend(args: string[], env: Record<string, string>): Promise<number> {
	const directory = temporaryDirectory();
	const loader = join(directory, 'ld-waits.so');
	symlinkSync('/bin/sh', loader);
	writeFileSync(join(directory, 'criu'), 'read line\n');
	const child = spawn(loader, [join(directory, 'criu'), ...args], {
		env,
		stdio: ['pipe', 'ignore', 'ignore'],
	});
	const exit = once(child, 'exit');
	afterwards(async () => {
		child.kill('SIGKILL');
		await exit;
	});
	await once(child, 'spawn');
	await until('its command line', () => commandLineOf(child.pid!)[0] === loader);
	return child.pid!;
}

test('a running process, and its own configuration', async () => {
	const home = temporaryDirectory();
	const dump = ['dump', '--stream', '--no-default-config'];
	assert.is(dumpKindOf(await pretend(dump, { HOME: home })).dies, true);

	const config = join(home, 'my.conf');
	assert.is(dumpKindOf(await pretend([...dump, '--config', config], { HOME: home })).dies, true);
	writeFileSync(config, 'leave-running\n');
	const kind = dumpKindOf(await pretend([...dump, '--config', config], { HOME: home }));
	assert.match(kind.why, /--leave-running lets the application live in a configuration file/);
	assert.is(kind.dies, false);
	assert.is(dumpKindOf(await pretend(dump, { CRIU_CONFIG_FILE: config })).dies, false);

	mkdirSync(join(home, '.criu'));
	writeFileSync(join(home, '.criu/default.conf'), 'leave-running\n');
	assert.is(dumpKindOf(await pretend(['dump', '--stream'], { HOME: home })).dies, false);
	assert.is(dumpKindOf(await pretend(dump, { HOME: home })).dies, true);
});

test('a configuration that CRIU may read in another way', async () => {
	const dump = ['dump', '--stream', '--no-default-config'];
	for (const [config, why] of [
		['relative.conf', /no absolute path/],
		['', /no absolute path/],
		['/dev/zero', /no usual file/],
		['/proc', /no usual file/],
		['/proc/self/fd/0', /no usual file/],
	] as const) {
		const kind = dumpKindOf(await pretend([...dump, '--config', config], {}));
		assert.is(kind.dies, false, config);
		assert.match(kind.why, why);
	}
});

test('a process that has ended, is a zombie, or cannot be seen', async () => {
	assert.is(dumpKindOf(0).dies, false);
	assert.is(dumpKindOf(-1).dies, false);
	// The shell becomes a sleep, which never reaps the child; the child must not end before that.
	const parent = spawn('/bin/sh', ['-c', 'read line <&3 & echo $!; exec sleep 1000'], {
		stdio: ['ignore', 'pipe', 'ignore', 'pipe'],
	});
	const exit = once(parent, 'exit');
	afterwards(async () => {
		parent.kill('SIGKILL');
		await exit;
	});
	const [output] = (await once(parent.stdout!, 'data')) as [Buffer];
	const zombie = Number(output.toString());
	await until('the sleep', () => commandLineOf(parent.pid!)[0] === 'sleep');
	(parent.stdio[3] as Writable).end('\n');
	await until('the zombie', () => /^State:\tZ/m.test(readFileSync(`/proc/${zombie}/status`, 'utf8')));
	assert.is(dumpKindOf(zombie).dies, false);

	const child = spawn('/bin/true');
	await once(child, 'exit');
	assert.is(dumpKindOf(child.pid!).dies, false);
});

test.run();

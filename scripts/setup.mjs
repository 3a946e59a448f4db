// Gets a checkout ready and runs one of its programs: `node scripts/setup.mjs FILE [ARGUMENTS]`, or `build` to stop after
// the build. Every npm script goes through here, so that each works by itself on a fresh clone. Needs nothing but Node;
// stdout belongs to FILE.
import { spawn, spawnSync } from 'node:child_process';
import { lstatSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);
const [file, ...programArguments] = process.argv.slice(2);

/** Of the lock; a listener on an abstract socket vanishes with its process, so that no lock is ever left behind. */
const LOCK = `\0criu-pipe-streamer setup ${root}`.slice(0, 100);
const LOCK_RETRY_MILLIS = 200;

function say(text) {
	process.stderr.write(`setup: ${text}\n`);
}

/** Resolves once no other setup works in this checkout; the result lets the next one in. */
async function lock() {
	for (let said = false; ; ) {
		const server = createServer();
		const result = await new Promise((resolve) => {
			server.once('error', resolve).listen(LOCK, () => resolve(undefined));
		});
		if (!result) return () => server.close();
		if (result.code !== 'EADDRINUSE') throw result;
		if (!said) say('waiting for another setup in this directory');
		said = true;
		await new Promise((resolve) => setTimeout(resolve, LOCK_RETRY_MILLIS));
	}
}

/** The packages that a lock file names, by their directories; undefined where there is no such file. */
function packagesOf(path) {
	let text;
	try {
		text = readFileSync(path, 'utf8');
	} catch {
		return undefined;
	}
	return new Map(Object.entries(JSON.parse(text).packages).filter(([where]) => where !== ''));
}

/** Whether node_modules holds what package-lock.json asks for (packages for other machines may be absent). */
function isInstalled() {
	const wanted = packagesOf('package-lock.json');
	const present = packagesOf('node_modules/.package-lock.json');
	if (!wanted) throw new Error('package-lock.json is missing: this is no checkout of the project');
	if (!present) return false;
	const same = (where) => present.get(where)?.version === wanted.get(where)?.version;
	return [...wanted.keys()].every(
		(where) => same(where) || (wanted.get(where).optional && !present.has(where)),
	);
}

function install() {
	if (isInstalled()) return;
	// npm would empty the directory that the link leads to, which belongs to another checkout.
	if (lstatSync('node_modules', { throwIfNoEntry: false })?.isSymbolicLink())
		throw new Error(
			'node_modules is a link to other packages than package-lock.json names: run npm ci there',
		);
	say('installing packages (npm ci)');
	const npm = process.env.npm_execpath;
	const [command, first] = npm?.endsWith('.js') ? [process.execPath, [npm]] : ['npm', []];
	const options = ['ci', '--include=dev', '--no-audit', '--no-fund'];
	const { status, error } = spawnSync(command, [...first, ...options], { stdio: ['ignore', 2, 2] });
	if (error) throw error;
	if (status !== 0) throw new Error(`npm ci failed (exit code ${status}): its messages are above`);
}

/** When the newest of `paths` changed, with all that is in them; a directory's own time tells of files that were removed. */
function newest(...paths) {
	const times = paths.map((path) => {
		const found = statSync(path, { throwIfNoEntry: false });
		if (!found) return Number.POSITIVE_INFINITY;
		if (!found.isDirectory()) return found.mtimeMs;
		return Math.max(found.mtimeMs, newest(...readdirSync(path).map((name) => join(path, name))));
	});
	return Math.max(0, ...times);
}

async function build() {
	const made = statSync('dist/bin.js', { throwIfNoEntry: false })?.mtimeMs;
	const sources = ['src', 'proto', 'scripts/build.mjs', 'package.json'];
	if (made && statSync('src/proto/images.js', { throwIfNoEntry: false }) && newest(...sources) <= made)
		return;
	say('building dist/');
	const { generate, bundle } = await import('./build.mjs');
	generate();
	await bundle();
}

/** Runs FILE as if it had been started itself: its exit code and its end by a signal are ours. */
function run() {
	const tsx = pathToFileURL(require.resolve('tsx')).href;
	const child = spawn(process.execPath, ['--import', tsx, file, ...programArguments], { stdio: 'inherit' });
	const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
	for (const signal of signals) process.on(signal, () => child.kill(signal));
	child.on('error', fail);
	child.on('exit', (code, signal) => {
		if (!signal) process.exit(code);
		for (const name of signals) process.removeAllListeners(name);
		process.kill(process.pid, signal);
		// Where the signal does not end a process, the code that a shell would give does.
		setTimeout(() => process.exit(128 + constants.signals[signal]), 1000);
	});
}

function fail(error) {
	say(error.message);
	process.exit(1);
}

if (!file) {
	say('usage: node scripts/setup.mjs FILE [ARGUMENTS] | build');
	process.exit(2);
}
process.chdir(root);
try {
	const unlock = await lock();
	install();
	await build();
	unlock();
	if (file !== 'build') run();
} catch (error) {
	fail(error);
}

/**
 * `npm run demo`: a process that counts is checkpointed by CRIU, its image goes through capture and extract, and the restored
 * process counts on. Each command is shown as a user would type it. Where CRIU cannot run, a stand-in for it
 * (stand-in.ts) shows the same with the files of a directory.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
	existsSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmSync,
	writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findCriu } from './find-criu.js';

/** Of any wait: the whole takes a few seconds on an ordinary machine. */
const SECONDS = 100;
const POLL_MILLIS = 20;
/** Counts ten times a second; perl is part of every Debian. */
const COUNTER = `perl -e '$| = 1; while (1) { print ++$n, "\\n"; select undef, undef, undef, 0.1 }'`;

const directory = mkdtempSync(join(tmpdir(), 'criu-streamer-demo-'));
/** Process groups to end at the end. */
const groups = new Set<number>();

function cleanUp(): void {
	for (const group of groups) {
		try {
			process.kill(-group, 'SIGKILL');
		} catch {
			// All of it has ended.
		}
	}
	rmSync(directory, { recursive: true, force: true });
}
process.on('exit', cleanUp);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));

/** A command's number, and its end. */
interface Running {
	pid: number;
	/** Set once it has ended well. */
	done: boolean;
	/** Set once it has failed. */
	failure?: string;
}

/** Shows a command and starts it in the directory, in a session of its own. Its messages go to `log`. */
function start(shown: string, log: string): Running {
	console.log(`\n$ ${shown}`);
	// The session that a user makes by setsid is there already, and the number of the shell becomes that of the command.
	const command = shown.replace(/ &$/, '').replace(/^setsid/, 'exec');
	const child = spawn('bash', ['-o', 'pipefail', '-c', `exec 2>${log}; ${command}`], {
		cwd: directory,
		env: { ...process.env, PATH: `${join(directory, 'bin')}:${process.env.PATH}` },
		stdio: ['ignore', 'ignore', 'ignore'],
		detached: true,
	});
	const running: Running = { pid: child.pid!, done: false };
	groups.add(running.pid);
	child.on('exit', (code, signal) => {
		const messages = existsSync(join(directory, log))
			? readFileSync(join(directory, log), 'utf8').trim()
			: '';
		if (code === 0) running.done = true;
		else running.failure = `${shown}\n  failed (${signal ?? `exit code ${code}`}): ${messages.slice(-2000)}`;
	});
	return running;
}

/** Waits until `condition` holds; fails when one of `commands` does. */
async function until(what: string, condition: () => boolean, ...commands: Running[]): Promise<void> {
	const end = Date.now() + SECONDS * 1000;
	while (!condition()) {
		for (const { failure } of commands) if (failure) throw new Error(failure);
		if (Date.now() > end) throw new Error(`${what}: not within ${SECONDS} seconds`);
		await new Promise((resolve) => setTimeout(resolve, POLL_MILLIS));
	}
}

function ends(command: Running, ...others: Running[]): Promise<void> {
	return until('the command ends', () => command.done, command, ...others);
}

function hasSocket(path: string): () => boolean {
	return () => existsSync(join(directory, path));
}

const STREAM = 'criu-image-streamer capture -W source | criu-image-streamer extract -W target &';

async function withCriu(version: string): Promise<void> {
	console.log(`A process that counts, CRIU ${version}, and a pipe.`);
	const counts = () => readFileSync(join(directory, 'count'), 'utf8').split('\n').slice(0, -1);
	const counter = start(`setsid ${COUNTER} >count &`, '/dev/null');
	await until('it counts', () => existsSync(join(directory, 'count')) && counts().length >= 3, counter);
	console.log(`  process ${counter.pid} counts: ${counts().join(' ')} …`);

	const stream = start(STREAM, 'stream.log');
	await until('capture is ready', hasSocket('source/streamer-capture.sock'), stream);
	const begun = Date.now();
	await ends(start(`criu dump --tree ${counter.pid} --images-dir source --stream`, 'dump.log'), stream);
	await until('the process is gone', () => !existsSync(`/proc/${counter.pid}`));
	const last = counts().length;
	console.log(
		`  process ${counter.pid} is gone, its last number was ${last}; its image waits in extract, in no file`,
	);

	await until('extract is ready', hasSocket('target/streamer-serve.sock'), stream);
	await ends(start('criu restore --restore-detached --images-dir target --stream', 'restore.log'), stream);
	const seconds = (Date.now() - begun) / 1000;
	await ends(stream);
	await until('it counts on', () => counts().length >= last + 3);
	const numbers = counts();
	if (numbers.some((number, index) => Number(number) !== index + 1))
		throw new Error(`it miscounts: ${numbers}`);
	console.log(`  process ${counter.pid} is back and counts on: ${numbers.slice(last).join(' ')} …`);
	console.log(`\nThe process was checkpointed, streamed and restored in ${seconds.toFixed(1)} seconds.`);
}

async function withStandIn(why: string): Promise<void> {
	console.log(`${why}.\nSo a stand-in for CRIU shows the same, with the files of a directory.`);
	mkdirSync(join(directory, 'image'));
	for (const [name, size] of [
		['core-1.img', 900],
		['pages-1.img', 30_000_000],
		['inventory.img', 40],
	] as const)
		writeFileSync(join(directory, 'image', name), randomBytes(size));
	const stream = start(STREAM, 'stream.log');
	await until('capture is ready', hasSocket('source/streamer-capture.sock'), stream);
	await ends(start('stand-in dump source image', 'dump.log'), stream);
	console.log('  all files are sent');
	await until('extract is ready', hasSocket('target/streamer-serve.sock'), stream);
	await ends(start('stand-in restore target copy', 'restore.log'), stream);
	await ends(stream);
	await ends(start('diff -r image copy', 'diff.log'));
	console.log(`  no difference in ${readdirSync(join(directory, 'copy')).length} files`);
	console.log('\nThe image was streamed and served whole.');
}

/** Makes a command for the shell. */
function provide(name: string, ...command: string[]): void {
	const words = command.map((word) => `'${word}'`).join(' ');
	writeFileSync(join(directory, 'bin', name), `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
}

function fileHere(path: string): string {
	return fileURLToPath(new URL(path, import.meta.url));
}

try {
	mkdirSync(join(directory, 'bin'));
	provide('criu-image-streamer', process.execPath, fileHere('../dist/bin.js'));
	const criu = findCriu();
	if ('path' in criu) {
		if (criu.path.includes('/')) provide('criu', criu.path);
		await withCriu(criu.version);
	} else {
		provide('stand-in', process.execPath, '--import', import.meta.resolve('tsx'), fileHere('stand-in.ts'));
		await withStandIn(criu.why);
	}
} catch (error) {
	console.error(`demo: ${error instanceof Error ? error.message : error}`);
	process.exit(1);
}

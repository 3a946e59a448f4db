/**
 * The action script for `criu dump` and `criu restore`: CRIU starts scripts/criu-streamer-hook, which starts this at
 * pre-stream, and at post-dump unless it has learned without Node that the stream is delivered. It makes CRIU connect only once
 * the streamer is ready (pre-stream), and end the application only once the stream is delivered (post-dump): if this fails, CRIU
 * lets the application live.
 *
 * The application is frozen meanwhile, so only required modules are loaded.
 */
import { existsSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { accessError } from './control/access-error.js';
import { ask, type Reply } from './control/ask.js';
import { controlSocketName, type Role } from './control/paths.js';
import { commandLineOf, criuArguments, criuCommand } from './criu/command-line.js';
import { describeError } from './runtime/errors.js';
import { MAX_TIMER_SECONDS } from './runtime/timers.js';
import { PROGRAM } from './runtime/version.js';

const CRIU_GONE = new Error('before CRIU was gone');
const DEFAULT_SECONDS = 600;
/** Timers count whole milliseconds. */
const MIN_SECONDS = 0.001;
/** Interval of the attempts to reach a streamer that is starting. */
const RETRY_MILLIS = 20;
/** Interval of the checks that CRIU still runs. */
const CRIU_MILLIS = 1000;

/** The options for what a streamer that serves another CRIU recommends in its answer, which names none. */
const REFUSAL_OPTIONS: Record<Role, string> = { capture: '--work-dir', serve: '--work-dir, --criu-clients' };

/** How many seconds the shell has waited for an answer on the FIFOs of a capture; 0: there were none. */
const waited = Number(process.argv[2] ?? 0);

/** The effect of any failure at post-dump, appended to its message. */
const EFFECT = '; the application goes on running';

async function main(): Promise<void> {
	const action = process.env.CRTOOLS_SCRIPT_ACTION;
	if (action !== 'pre-stream' && action !== 'post-dump') return;
	const imageDir = process.env.CRTOOLS_IMAGE_DIR;
	if (!imageDir) throw new Error('CRTOOLS_IMAGE_DIR is not set: this script is for CRIU’s --action-script');
	const seconds = timeout(process.env.CRIU_STREAMER_TIMEOUT);
	const name = enter(imageDir);

	const cancel = new AbortController();
	const timer = setTimeout(() => cancel.abort(new Error(`within ${seconds} s`)), (seconds - waited) * 1000);
	// The directory is a descriptor of CRIU's in /proc: it disappears when CRIU ends.
	const watch = setInterval(() => {
		if (!existsSync(imageDir)) cancel.abort(CRIU_GONE);
	}, CRIU_MILLIS);
	try {
		await (action === 'pre-stream' ? untilReady(name, imageDir, cancel) : untilFinished(name, cancel));
	} finally {
		clearTimeout(timer);
		clearInterval(watch);
	}
}

/** Changes to the images directory: relative to it the path of the socket is short enough. Returns its real path. */
function enter(imageDir: string): string {
	try {
		const name = realpathSync(imageDir);
		process.chdir(imageDir);
		return name;
	} catch (error) {
		// The shell found it there.
		if (waited && !existsSync(imageDir)) throw new Error(tooLate(CRIU_GONE));
		const { errno = 0 } = error as NodeJS.ErrnoException;
		throw accessError(`cannot enter the images directory ${imageDir}`, imageDir, errno);
	}
}

function timeout(text: string | undefined): number {
	const seconds = text ? Number(text) : DEFAULT_SECONDS;
	if (!(seconds >= MIN_SECONDS && seconds <= MAX_TIMER_SECONDS)) {
		throw new Error(
			`CRIU_STREAMER_TIMEOUT=${text} is not a number of seconds from ${MIN_SECONDS} to ${MAX_TIMER_SECONDS}`,
		);
	}
	return seconds;
}

/** Waits for a streamer, which may be started before or after CRIU. */
async function untilReady(dir: string, imageDir: string, cancel: AbortController): Promise<void> {
	const roles = rolesFor(imageDir);
	while (!cancel.signal.aborted) {
		let refusal: Error | undefined;
		for (const role of roles) {
			const reply = await ask(controlSocketName(role), { ready: {} }, cancel.signal);
			if (reply.kind === 'done') return;
			if (cancel.signal.aborted) break;
			if (reply.kind === 'inaccessible') throw unreachable(role, dir, reply.errno);
			if (reply.kind === 'refused')
				refusal ??= new Error(`${named(role)} in ${dir}: ${reply.reason} (${REFUSAL_OPTIONS[role]})`);
			if (reply.kind === 'failed') throw new Error(`${named(role)} in ${dir} failed: ${reply.reason}`);
			if (reply.kind === 'lost')
				throw new Error(`${named(role)} in ${dir} ended before its socket was ready`);
		}
		if (refusal) throw refusal;
		await delay(RETRY_MILLIS);
	}
	const streamers = roles.map(named).join(' or ');
	throw new Error(
		`${streamers} was not ready in ${dir} ${describeError(cancel.signal.reason)}: start it with --work-dir ${dir}, ` +
			'or set CRIU_STREAMER_TIMEOUT to wait longer',
	);
}

/**
 * The roles of the streamers that may serve this CRIU. Where its command line does not tell, as over RPC, the first one that
 * is ready serves it.
 */
function rolesFor(imageDir: string): Role[] {
	const pid = Number(/^\/proc\/(\d+)\//.exec(imageDir)?.[1] ?? 0);
	const argv = commandLineOf(pid);
	const title = /^criu: (\S+)/.exec(argv[0] ?? '')?.[1];
	const command = title ?? criuCommand(criuArguments(argv) ?? []);
	if (command === 'restore') return ['serve'];
	return command?.endsWith('dump') || command === 'cpuinfo' ? ['capture'] : ['capture', 'serve'];
}

function named(role: Role): string {
	return role === 'capture' ? `${PROGRAM} capture` : `${PROGRAM} extract (or serve)`;
}

/** Waits until the capture has delivered the stream, as far as it can tell. Throws where the image is, or may be, lost. */
async function untilFinished(dir: string, cancel: AbortController): Promise<void> {
	const reply = await ask(controlSocketName('capture'), { finished: {} }, cancel.signal);
	if (reply.kind === 'done') return;
	if (reply.kind === 'inaccessible') throw unreachable('capture', dir, reply.errno);
	if (cancel.signal.aborted) throw new Error(tooLate(cancel.signal.reason));
	// A capture that has made FIFOs for this CRIU was there.
	throw new Error(lost(reply.kind === 'absent' && waited ? { kind: 'lost' } : reply, dir));
}

function unreachable(role: Role, dir: string, errno: number): Error {
	const socket = controlSocketName(role);
	return accessError(`cannot connect to ${named(role)} at ${join(dir, socket)}`, socket, errno);
}

function tooLate(reason: unknown): string {
	return (
		`the stream was not out ${describeError(reason)}, and is given up: look for what reads it so slowly, ` +
		'or set CRIU_STREAMER_TIMEOUT to wait longer'
	);
}

function lost(reply: Reply, dir: string): string {
	switch (reply.kind) {
		case 'failed':
			return `the capture in ${dir} failed: ${reply.reason}`;
		case 'refused':
			return `the capture in ${dir} has no image of this dump: ${reply.reason} (${REFUSAL_OPTIONS.capture})`;
		case 'lost':
			return `the capture in ${dir} was ended before the stream was out`;
		default:
			return (
				`no capture is in ${dir}, so it is unknown whether the stream is out: see the messages of the capture, ` +
				'and use this script only for a dump with --stream into that directory'
			);
	}
}

try {
	await main();
	process.exitCode = 0;
} catch (error) {
	const effect = process.env.CRTOOLS_SCRIPT_ACTION === 'post-dump' ? EFFECT : '';
	process.stderr.write(`${PROGRAM}: ${describeError(error)}${effect}\n`);
	process.exitCode = 1;
}

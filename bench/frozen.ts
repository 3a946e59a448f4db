/**
 * The time for which a real CRIU freezes a process: a dump into a streamer, with the action script and without, beside a dump
 * of the same process into files in memory.
 */
import { type ChildProcess, type StdioOptions, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { holder, toConnect } from './connection.js';
import { loadPath, warm } from './load.js';
import { expand, ours } from './place.js';
import type { Reader } from './readers.js';
import { type Plan, type Row, SETTLE_MILLIS, usableReaders, type Values, warmth } from './rows.js';
import { readStats } from './stats-dump.js';

const hook = fileURLToPath(new URL('../scripts/criu-streamer-hook', import.meta.url));
/** A small process shows what the script costs. */
const SMALL_BYTES = 16 * 2 ** 20;
/** Whose words in the memory of a dying process are corrected. */
const THREADS = 16;
const LIMIT_MILLIS = 120_000;

interface Trial {
	plan: Plan;
	bytes: number;
	threads: number;
	/** Into files in memory, without one. */
	reader?: Reader;
	streamer?: 'ours' | 'original';
	/** Options of CRIU. */
	options: string[];
}

/** Groups of processes, none of which outlives the bench. */
const groups = new Set<number>();
process.on('exit', () => groups.forEach(end));

function end(group: number): void {
	groups.delete(group);
	try {
		process.kill(-group, 'SIGKILL');
	} catch {
		// It has ended.
	}
}

/** Starts a process in a session, and so in a group, of its own, which CRIU requires of what it dumps. */
function start(command: string[], stdio: StdioOptions, env?: NodeJS.ProcessEnv): ChildProcess {
	const [file, ...args] = command;
	const child = spawn(file!, args, { detached: true, stdio, ...(env ? { env } : {}) });
	groups.add(child.pid!);
	return child;
}

async function startProcess({ bytes, threads }: Trial): Promise<ChildProcess> {
	const child = start([loadPath, 'hold', String(bytes), String(threads)], ['ignore', 'pipe', 'ignore']);
	const ready = await Promise.race([once(child.stdout!, 'data'), once(child, 'exit').then(() => undefined)]);
	if (!ready) throw new Error('the process to dump has ended');
	return child;
}

/** What bash runs, with the streamer's command as its arguments. */
function pipeline({ plan, streamer }: Trial, reader: Reader, dir: string): string {
	if (reader.kind === 'pipe' || streamer === 'original') return `"$@" capture | { ${reader.command}; }`;
	if (reader.kind === 'file') return `"$@" capture > '${expand(reader.path, plan.place)}'`;
	const far = mkdtempSync(`${dir}/far-`);
	const near = toConnect(plan.place, reader).join(' ');
	return `${holder(plan.place, reader, far)} 2> /dev/null & "$@" ${near} capture; code=$?; kill $!; exit $code`;
}

/** Starts a capture and all that reads it. */
function startCapture(of: Trial, reader: Reader, dir: string) {
	const streamer = [...(of.streamer === 'ours' ? ours : [of.plan.peer!]), '-D', dir];
	const child = start(
		['bash', '-o', 'pipefail', '-c', pipeline(of, reader, dir), '-', ...streamer],
		['ignore', 'ignore', 'pipe'],
		of.plan.place,
	);
	let messages = '';
	const done = once(child, 'exit').then(([code]) => {
		if (code !== 0) throw new Error(`the capture into ${reader.name} failed: ${messages}`);
	});
	const ready = new Promise<void>((resolve, reject) => {
		child.stderr!.setEncoding('utf8').on('data', (text) => {
			messages += text;
			if (messages.includes('socket-init')) resolve();
		});
		done.then(() => reject(new Error('the capture has ended')), reject);
	});
	ready.catch(() => {});
	return { ready, done };
}

async function dump(of: Trial): Promise<Values> {
	const { plan, reader, options } = of;
	const dir = mkdtempSync(`${plan.place.MEMORY}/criu-`);
	const capture = reader && startCapture(of, reader, dir);
	try {
		await capture?.ready;
		const { pid } = await startProcess(of);
		await delay(reader?.settle ?? SETTLE_MILLIS);
		warm(warmth(of.bytes));
		const args = ['dump', '-t', String(pid), '-D', dir, '-v1', '-o', 'dump.log', ...options];
		if (reader) args.push('--stream');
		const { status } = spawnSync(plan.criu!, args, { stdio: 'inherit', timeout: LIMIT_MILLIS });
		if (status !== 0) throw new Error(`criu failed:\n${readFileSync(`${dir}/dump.log`)}`);
		await capture?.done;
		return { frozen: readStats(readFileSync(`${dir}/stats-dump`)).frozen / 1e6 };
	} finally {
		for (const group of groups) end(group);
		rmSync(dir, { recursive: true });
		if (reader?.kind === 'file') rmSync(expand(reader.path, plan.place), { force: true });
	}
}

/** Rows of the measures frozen, where the process dies, and running, where it lives. */
export function frozenRows(plan: Plan): Row[] {
	if (!plan.criu) return [];
	const bytes = plan.sizes[0]!;
	const script = ['--action-script', hook];
	const readers = usableReaders(plan).filter((reader) => !reader.shards);
	const row = (measure: 'frozen' | 'running', reader: Reader, size: number, threads: number): Row => {
		const common = measure === 'running' ? ['--leave-running'] : [];
		const of = { plan, bytes: size, threads };
		const into = { ...of, reader, streamer: 'ours' as const };
		const runs: Row['runs'] = {
			files: () => dump({ ...of, options: common }),
			bare: () => dump({ ...into, options: common }),
			script: () => dump({ ...into, options: [...common, ...script] }),
		};
		if (plan.peer && measure === 'frozen')
			runs.original = () => dump({ ...into, streamer: 'original', options: common });
		return { measure, name: reader.name, bytes: size, files: 0, runs };
	};
	return [
		...readers.filter(({ name }) => name === 'cat').map((reader) => row('frozen', reader, SMALL_BYTES, 1)),
		...readers.map((reader) => row('frozen', reader, bytes, THREADS)),
		...readers
			.filter(({ name }) => ['nothing', 'cat'].includes(name))
			.map((reader) => row('running', reader, bytes, THREADS)),
	];
}

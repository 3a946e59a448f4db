/** The time for which a real CRIU freezes a process: a dump into a streamer beside a dump into memory. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs/minimal.js';
import { loadPath } from './load.js';
import type { Plan } from './trials.js';

export interface CriuRun {
	name: string;
	/** Milliseconds: the application was frozen; CRIU wrote pages; the whole command. */
	frozen: number;
	memoryWrite: number;
	wall: number;
}

const bin = fileURLToPath(new URL('../dist/bin.js', import.meta.url));
/** The magic of stats-dump: that of service files, and that of statistics. */
const STATS_MAGICS = [0x55105940, 0x57093306];
const LIMIT_MILLIS = 120_000;

/** Microseconds from CRIU's stats-dump: {1: dump {2: frozen_time, 4: memwrite_time}}. Throws on another file. */
export function readStats(file: Uint8Array): { frozen: number; memoryWrite: number } {
	const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
	if (STATS_MAGICS.some((magic, i) => view.getUint32(4 * i, true) !== magic))
		throw new Error('this is no stats-dump');
	const outer = protobuf.Reader.create(file.subarray(12, 12 + view.getUint32(8, true)));
	const times = new Map<number, number>();
	while (outer.pos < outer.len) {
		const tag = outer.uint32();
		if (tag >>> 3 !== 1) {
			outer.skipType(tag & 7);
			continue;
		}
		const inner = protobuf.Reader.create(outer.bytes());
		while (inner.pos < inner.len) {
			const field = inner.uint32();
			if ((field & 7) === 0) times.set(field >>> 3, Number(inner.uint64()));
			else inner.skipType(field & 7);
		}
	}
	return { frozen: times.get(2)!, memoryWrite: times.get(4)! };
}

function dump(criu: string, name: string, plan: Plan, bytes: number, streamer?: string[]): Promise<CriuRun> {
	return withProcess(bytes, async (pid) => {
		const dir = mkdtempSync(`${plan.tmpfs}/bench-criu-`);
		try {
			const capture = streamer && startCapture([...streamer, '--images-dir', dir]);
			await capture?.ready;
			const args = [
				'dump',
				'-t',
				String(pid),
				'-D',
				dir,
				'-v1',
				'-o',
				'dump.log',
				...(streamer ? ['--stream'] : []),
			];
			const start = performance.now();
			const { status } = spawnSync(criu, args, { stdio: 'inherit', timeout: LIMIT_MILLIS });
			const wall = performance.now() - start;
			if (status !== 0) throw new Error(`criu failed:\n${readFileSync(`${dir}/dump.log`)}`);
			await capture?.done;
			const { frozen, memoryWrite } = readStats(readFileSync(`${dir}/stats-dump`));
			return { name, frozen: frozen / 1000, memoryWrite: memoryWrite / 1000, wall };
		} finally {
			rmSync(dir, { recursive: true });
		}
	});
}

/** Runs a process of that size in its own session, as CRIU requires, and ends it afterwards. */
async function withProcess<T>(bytes: number, use: (pid: number) => Promise<T>): Promise<T> {
	const child = spawn(loadPath, ['hold', String(bytes)], { detached: true, stdio: 'ignore' });
	try {
		while (residentOf(child) < bytes) await new Promise((resolve) => setTimeout(resolve, 50));
		return await use(child.pid!);
	} finally {
		child.kill('SIGKILL');
	}
}

function residentOf(child: ChildProcess): number {
	if (child.exitCode !== null) throw new Error('the process to dump has ended');
	const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
	return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
}

/** A capture whose stream is discarded, through a real pipe. */
function startCapture(streamer: string[]): { ready: Promise<unknown>; done: Promise<void> } {
	const script = '"$@" capture | "$0" drain';
	const child = spawn('bash', ['-o', 'pipefail', '-c', script, loadPath, ...streamer], {
		stdio: ['ignore', 'ignore', 'pipe'],
	});
	let messages = '';
	const ready = new Promise((resolve, reject) => {
		child.stderr!.setEncoding('utf8').on('data', (text) => {
			messages += text;
			if (messages.includes('socket-init')) resolve(undefined);
		});
		child.on('exit', () => reject(new Error(`capture ended early: ${messages}`)));
	});
	ready.catch(() => {});
	const done = once(child, 'exit').then(([code]) => {
		if (code !== 0) throw new Error(`capture failed: ${messages}`);
	});
	done.catch(() => {});
	return { ready, done };
}

/** Runs each variant once per round; keeps the median round by frozen time. */
export async function criuRuns(criu: string, plan: Plan, bytes: number): Promise<CriuRun[]> {
	const ways: [string, string[]?][] = [
		['ours', [process.execPath, bin]],
		...(plan.peer ? [['peer', [plan.peer]] as [string, string[]]] : []),
		['files in memory (tmpfs)'],
	];
	const found: CriuRun[] = [];
	for (let round = 0; round < plan.rounds; round++)
		for (const [name, streamer] of round % 2 ? ways.toReversed() : ways)
			found.push(await dump(criu, name, plan, bytes, streamer));
	return ways.map(([name]) => {
		const runs = found.filter((run) => run.name === name).sort((a, b) => a.frozen - b.frozen);
		return runs[runs.length >> 1]!;
	});
}

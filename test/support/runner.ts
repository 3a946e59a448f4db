/**
 * Runs test files, each in its own process group, and adds up their results. A file passes only by the totals that it writes
 * (suite.ts): one that crashes, hangs, ends early or has no tests is a failure.
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Totals } from './suite.js';

/** Bytes of the output of a file with failures that are shown, from its end. */
const SHOWN_BYTES = 40_000;
/** Interval of the lines about a running file: a CI job without output may be ended. */
const PROGRESS_MILLIS = 60_000;

/** The result of one file. */
export interface FileResult {
	file: string;
	seconds: number;
	passed: number;
	skipped: Totals['skipped'];
	/** One line per failure. */
	failures: string[];
	output: string;
}

const groups = new Set<number>();

/** Kills the process groups of the running files, including all processes that a test started. */
export function killAll(): void {
	for (const pid of groups) killGroup(pid);
}

function killGroup(pid: number): void {
	try {
		process.kill(-pid, 'SIGKILL');
	} catch {
		// It has no processes any more.
	}
}

/** Runs `file` with a limit of `seconds`. */
export async function runFile(file: string, seconds: number): Promise<FileResult> {
	const directory = mkdtempSync(join(tmpdir(), 'criu-streamer-run-'));
	const totalsPath = join(directory, 'totals.json');
	const logPath = join(directory, 'log');
	const started = Date.now();
	const passed = () => Math.round((Date.now() - started) / 1000);
	const progress = setInterval(
		() => process.stdout.write(`      …${file} has been running for ${passed()} s\n`),
		PROGRESS_MILLIS,
	);
	try {
		const { end, late } = await runProcess(file, seconds, logPath, {
			...process.env,
			CRIU_STREAMER_TOTALS: totalsPath,
		});
		const output = readFileSync(logPath);
		const result: FileResult = {
			file,
			seconds: (Date.now() - started) / 1000,
			passed: 0,
			skipped: [],
			failures: late ? [`${file} was stopped: it took longer than ${seconds} seconds`] : [],
			output: output.subarray(-SHOWN_BYTES).toString(),
		};
		judge(result, readTotals(totalsPath), end);
		return result;
	} finally {
		clearInterval(progress);
		rmSync(directory, { recursive: true, force: true });
	}
}

/**
 * `end`: "exit code 0" or the like. Output goes to a file, since a process that outlives the test would keep a pipe open.
 */
function runProcess(file: string, seconds: number, log: string, env: NodeJS.ProcessEnv) {
	const out = openSync(log, 'w');
	return new Promise<{ end: string; late: boolean }>((resolve, reject) => {
		const child = spawn(process.execPath, ['--import', 'tsx', file], {
			stdio: ['ignore', out, out],
			env,
			detached: true,
		});
		closeSync(out);
		const pid = child.pid;
		if (pid) groups.add(pid);
		let late = false;
		const timer = setTimeout(() => {
			late = true;
			if (pid) killGroup(pid);
		}, seconds * 1000);
		child.on('error', reject);
		child.on('exit', (code, signal) => {
			clearTimeout(timer);
			if (pid) killGroup(pid);
			if (pid) groups.delete(pid);
			resolve({ end: signal ? `signal ${signal}` : `exit code ${code}`, late });
		});
	});
}

function readTotals(path: string): Totals | undefined {
	try {
		return JSON.parse(readFileSync(path, 'utf8'));
	} catch {
		return undefined;
	}
}

function judge(result: FileResult, totals: Totals | undefined, end: string): void {
	const { file, failures } = result;
	if (!totals) {
		failures.push(`${file} ended without its totals (${end})`);
		return;
	}
	result.passed = totals.passed;
	result.skipped = totals.skipped;
	failures.push(...totals.failed.map(({ test, message }) => `${test}: ${message.split('\n')[0]}`));
	const ended = totals.passed + totals.failed.length + totals.skipped.length;
	if (totals.registered === 0) failures.push(`${file} holds no tests`);
	if (ended !== totals.registered)
		failures.push(`${file} ended after ${ended} of its ${totals.registered} tests (${end})`);
	if (!failures.length && end !== 'exit code 0')
		failures.push(`${file} passed its tests, but ended by ${end}`);
}

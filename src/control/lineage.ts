/**
 * Processes and their ancestors, as /proc shows them: how a question on the control socket is known to come from the action
 * script of a certain CRIU. CRIU waits for its script, so the chain of processes between them exists while the script asks.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { commandLineOf, criuArguments } from '../criu/command-line.js';

/** A pid is reused; together with the start time it identifies one process. */
export interface Process {
	/** 0: a process of a pid namespace that cannot be seen from here. */
	readonly pid: number;
	/** In clock ticks since the boot; empty where /proc does not show the process. */
	readonly start: string;
}

/** A process, its parent, and so on. Empty where /proc does not show it. */
export type Lineage = readonly Process[];

/** A limit, since /proc changes while it is read; far more than the ancestors of any process. */
const MAX_GENERATIONS = 256;
/** A command line in a message: enough to recognise it. */
const MAX_NAME = 120;

interface Status {
	state: string;
	parent: number;
	start: string;
}

function statusOf(pid: number): Status | undefined {
	try {
		// A /proc of another pid namespace shows other processes under the same numbers.
		if (pid <= 0 || readlinkSync('/proc/self') !== String(process.pid)) return undefined;
		// After the name in parentheses, which may hold anything: state, parent, ..., and as the 20th the start.
		const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
			.replace(/^.*\) /s, '')
			.split(' ');
		return { state: fields[0]!, parent: Number(fields[1]), start: fields[19]! };
	} catch {
		return undefined;
	}
}

/** Process `pid` as it is now. */
export function processOf(pid: number): Process {
	return { pid, start: statusOf(pid)?.start ?? '' };
}

/** Process `pid` and its ancestors; the last may be one that cannot be seen. */
export function lineageOf(pid: number): Lineage {
	const line: Process[] = [];
	for (let at = pid; at > 0 && line.length < MAX_GENERATIONS; ) {
		const status = statusOf(at);
		if (!status) {
			if (line.length) line.push({ pid: at, start: '' });
			break;
		}
		const child = line.at(-1);
		// Younger than its child: the parent has ended, and its number is used again.
		if (child && BigInt(child.start) < BigInt(status.start)) break;
		line.push({ pid: at, start: status.start });
		at = status.parent;
	}
	return line;
}

export function isSame(a: Process, b: Process): boolean {
	return a.pid === b.pid && a.start === b.start;
}

/**
 * Whether the process with `line` is `criu` or descends from it. Where neither can be seen they cannot be told apart, and the
 * result is true: on such a machine all scripts belong to the one CRIU that cannot be seen.
 */
export function descendsFrom(line: Lineage, criu: Process): boolean {
	return line.length === 0 ? criu.start === '' : line.some((one) => isSame(one, criu));
}

/** Whether the process still runs. One that cannot be seen counts as gone. */
export function isAlive({ pid, start }: Process): boolean {
	const status = statusOf(pid);
	return status !== undefined && status.start === start && !/^[ZX]/.test(status.state);
}

/** The CRIU that the script with `line` works for: the nearest ancestor with CRIU's command line, else its parent. */
export function criuOf(line: Lineage): Process {
	const criu = line.find(({ pid }) => {
		const argv = commandLineOf(pid);
		// Over RPC it has a title in place of its arguments.
		return /^criu: /.test(argv[0] ?? '') || criuArguments(argv) !== undefined;
	});
	return criu ?? line[1] ?? line[0] ?? { pid: 0, start: '' };
}

/** For messages: `process 123 (criu dump -t 456)`. */
export function nameOf({ pid }: Process): string {
	if (pid === 0) return 'a process that cannot be seen from here';
	const argv = commandLineOf(pid);
	const args = criuArguments(argv);
	const words = (args ? ['criu', ...args] : argv).join(' ');
	const short = words.length > MAX_NAME ? `${words.slice(0, MAX_NAME)}…` : words;
	return `process ${pid}${short && ` (${short})`}`;
}

/**
 * The tasks that CRIU has stopped for a dump. From then until CRIU releases them each of their threads is in a tracing stop
 * with CRIU as its tracer, and their memory can be read and does not change.
 */
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { yieldToEventLoop } from '../runtime/yield.js';
import { commandLineOf, treeOf } from './command-line.js';

/** A process, with its threads. */
export interface Tracee {
	/** In the pid namespace of this process. */
	pid: number;
	/** In its own pid namespace: the number in the names of its images. */
	ownPid: number;
	/** It has pages of hugetlbfs. The kernel reuses such a page, shared by a fork, although pipes still refer to it. */
	hugePages: boolean;
	/** Its threads, including the first, in their own pid namespace. */
	ownTids: number[];
}

/**
 * The processes that the CRIU of process `tracer` has stopped.
 * @throws where there are none, or where one cannot be read: the error names it
 */
export async function traceesOf(tracer: number): Promise<Tracee[]> {
	const tree = treeOf(commandLineOf(tracer));
	let found = tree === undefined ? [] : await heldAmong(descendants(tree), tracer);
	if (!found.length) found = await heldAmong(allProcesses(), tracer);
	if (!found.length) throw new Error('the processes that CRIU has stopped cannot be seen from here');
	const numbers = found.flatMap(({ ownTids }) => ownTids);
	if (new Set(numbers).size < numbers.length)
		throw new Error('the processes of the dump are in several pid namespaces');
	return found;
}

async function heldAmong(pids: Iterable<number> | AsyncIterable<number>, tracer: number): Promise<Tracee[]> {
	const found: Tracee[] = [];
	for await (const pid of pids) {
		await yieldToEventLoop();
		const status = statusOf(`/proc/${pid}/status`);
		// A zombie has no memory, and no thread that could still end.
		if (isTracedBy(status, tracer) && !field(status, 'State')?.startsWith('Z'))
			found.push(readTracee(pid, status));
	}
	return found;
}

/** Process `root` and its descendants: far fewer than all processes, and the application is frozen during the search. */
async function* descendants(root: number): AsyncGenerator<number> {
	yield root;
	const threads = attempt(() => readdirSync(`/proc/${root}/task`)) ?? [];
	for (const thread of threads) {
		await yieldToEventLoop();
		const children = attempt(() => readFileSync(`/proc/${root}/task/${thread}/children`, 'latin1')) ?? '';
		for (const child of children.split(' ').filter(Boolean)) yield* descendants(Number(child));
	}
}

function allProcesses(): number[] {
	return readdirSync('/proc').map(Number).filter(Boolean);
}

/** Whether process `pid` is stopped by the CRIU of process `tracer` at this moment. */
export function isHeldBy(pid: number, tracer: number): boolean {
	return isTracedBy(statusOf(`/proc/${pid}/status`), tracer);
}

function isTracedBy(status: string, tracer: number): boolean {
	return field(status, 'TracerPid') === String(tracer);
}

/** Opens the memory of process `pid`, for reading at its addresses. The caller closes it. */
export function openMemory(pid: number): number {
	return openSync(`/proc/${pid}/mem`, 'r');
}

function readTracee(pid: number, status: string): Tracee {
	try {
		closeSync(openMemory(pid));
		const ownPid = ownNumber(status);
		const hugePages = !/^0\b/.test(field(status, 'HugetlbPages') ?? '0');
		const tids = readdirSync(`/proc/${pid}/task`).map(Number);
		// In the namespace of this process its thread IDs are the names in the directory.
		const same = ownPid === pid;
		const ownTids = same ? tids : tids.map((tid) => ownNumber(statusOf(`/proc/${pid}/task/${tid}/status`)));
		return { pid, ownPid, hugePages, ownTids };
	} catch (error) {
		const { code, message } = error as NodeJS.ErrnoException;
		throw new Error(`the memory of process ${pid} cannot be read (${code ?? message})`);
	}
}

/** NSpid has one number for each pid namespace that a task is in; the last is that in its own. */
function ownNumber(status: string): number {
	const own = Number(field(status, 'NSpid')?.split(/\s+/).at(-1));
	if (!own) throw new Error('the kernel does not tell its number');
	return own;
}

/** Empty where the task has ended meanwhile, or is not visible. */
function statusOf(path: string): string {
	return attempt(() => readFileSync(path, 'latin1')) ?? '';
}

/** Undefined where `look` throws: the process has ended meanwhile, or is not visible. */
function attempt<T>(look: () => T): T | undefined {
	try {
		return look();
	} catch {
		return undefined;
	}
}

function field(status: string, name: string): string | undefined {
	return new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1];
}

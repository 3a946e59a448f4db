/**
 * The tasks that a dumping CRIU holds: from the moment when it has stopped them until it lets them go, each of their threads
 * is in a tracing stop with CRIU as its tracer. Their memory can be read meanwhile, and does not change.
 */
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { yieldToEventLoop } from '../runtime/yield.js';
import { commandLineOf, treeOf } from './command-line.js';

/** A process, with its threads. */
export interface Tracee {
	/** As this process sees it. */
	pid: number;
	/** As the process itself sees it, in its own pid namespace: the number in the names of its images. */
	ownPid: number;
	/** It has pages of hugetlbfs. The kernel reuses one that a fork shares without regard to references in pipes. */
	hugePages: boolean;
	/** Its threads, the first among them, as they see themselves. */
	ownTids: number[];
}

/**
 * The processes that the CRIU of process `tracer` holds.
 * @throws where there are none, or where one cannot be read: the reason names it
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
		// A zombie has no memory, and no thread that could still end.
		if (isHeldBy(pid, tracer) && !isZombie(pid)) found.push(readTracee(pid));
	}
	return found;
}

/** Process `root` and all below it: far fewer than all processes, while the application stands still. */
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
	const status = statusOf(`/proc/${pid}/status`);
	return status !== undefined && field(status, 'TracerPid') === String(tracer);
}

function isZombie(pid: number): boolean {
	return field(statusOf(`/proc/${pid}/status`) ?? '', 'State')?.startsWith('Z') ?? false;
}

/** Opens the memory of process `pid`, for reading at its addresses. The caller closes it. */
export function openMemory(pid: number): number {
	return openSync(`/proc/${pid}/mem`, 'r');
}

function readTracee(pid: number): Tracee {
	try {
		closeSync(openMemory(pid));
		const status = statusOf(`/proc/${pid}/status`);
		const ownPid = ownNumber(status);
		const hugePages = !/^0\b/.test(field(status ?? '', 'HugetlbPages') ?? '0');
		const tids = readdirSync(`/proc/${pid}/task`).map(Number);
		// In the namespace of this process the numbers are those of the directory.
		const same = ownPid === pid;
		const ownTids = same ? tids : tids.map((tid) => ownNumber(statusOf(`/proc/${pid}/task/${tid}/status`)));
		return { pid, ownPid, hugePages, ownTids };
	} catch (error) {
		const { code, message } = error as NodeJS.ErrnoException;
		throw new Error(`the memory of process ${pid} cannot be read (${code ?? message})`);
	}
}

/** Of several numbers, one for each pid namespace that a task is in, the last is its own. */
function ownNumber(status: string | undefined): number {
	const own = Number(
		field(status ?? '', 'NSpid')
			?.split(/\s+/)
			.at(-1),
	);
	if (!own) throw new Error('the kernel does not tell its number');
	return own;
}

function statusOf(path: string): string | undefined {
	return attempt(() => readFileSync(path, 'latin1'));
}

/** Undefined where a process has ended meanwhile, or is not visible. */
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

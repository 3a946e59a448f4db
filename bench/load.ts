/** The load generators of bench/load/*.c: compiled once, and run around one command at a time. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('load/', import.meta.url));
export const cache = fileURLToPath(new URL('../.cache/', import.meta.url));
export const loadPath = `${cache}load`;

/** The cost of one run. Times in seconds, sizes in bytes; CPU is that of the measured process and its threads. */
export interface Run {
	exit: number;
	/** Payload that the stand-in for CRIU moved; bytes read from the shards. */
	moved: number;
	drained: number;
	/** From exec to the end of the command; to its `socket-init`; from CRIU's connection to the end. */
	wall: number;
	ready: number;
	served: number;
	cpu: number;
	user: number;
	/** CPU until `socket-init`. */
	readyCpu: number;
	/** Peak resident memory, and how far the machine's available memory fell. */
	resident: number;
	held: number;
	/** Context switches. */
	switches: number;
}

/** Compiles the generators when their sources are newer than the program. Throws without a C compiler. */
export function compile(): void {
	mkdirSync(cache, { recursive: true });
	const files = readdirSync(source).map((name) => `${source}${name}`);
	const made = statSync(loadPath, { throwIfNoEntry: false })?.mtimeMs ?? 0;
	if (files.every((file) => statSync(file).mtimeMs < made)) return;
	const units = files.filter((file) => file.endsWith('.c'));
	try {
		execFileSync('gcc', ['-O2', '-Wall', '-o', loadPath, ...units, '-lpthread'], { stdio: 'pipe' });
	} catch (error) {
		throw new Error('the load generators do not compile: install gcc and the headers of libc', {
			cause: error,
		});
	}
}

/** Runs `command` with generators according to `settings` (bench/load/main.c). Throws when either fails. */
export function load(settings: Record<string, string | number>, command: string[]): Run {
	const args = Object.entries(settings).map(([key, value]) => `${key}=${Math.round(Number(value)) || value}`);
	const done = spawnSync(loadPath, [...args, '--', ...command], { encoding: 'utf8', timeout: 600_000 });
	const run: Run | undefined = done.status === 0 ? JSON.parse(done.stdout) : undefined;
	if (!run || (run.exit !== 0 && !settings.stop))
		throw new Error(
			`${command.join(' ')} failed between ${args.join(' ')} (${run?.exit ?? done.signal ?? done.status}):\n${done.stderr}`,
		);
	return run;
}

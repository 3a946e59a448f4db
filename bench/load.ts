/** The load generators of bench/load/*.c: compiled once, and run around one command at a time. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('load/', import.meta.url));
export const cache = fileURLToPath(new URL('../.cache/', import.meta.url));
export const loadPath = `${cache}load`;

/** Of a small file, as in load.h. */
export const SMALL_BYTES = 400;

/** The cost of one run. Times in seconds, sizes in bytes. */
export interface Run {
	/** Payload that the stand-in for CRIU moved. */
	moved: number;
	/** From the first byte until the command and all of its readers and senders have ended. */
	wall: number;
	/** From exec to `socket-init`. */
	ready: number;
	/** CPU of the command and its threads, without its start. */
	cpu: number;
	/** Peak resident memory of the command, and how far the machine's available memory fell. */
	resident: number;
	held: number;
	/** Bytes of each shard, as the command says. */
	shards: number[];
}

export type Settings = Record<string, string | number>;

/** Compiles the generators when their sources are newer than the program. Throws without a C compiler. */
export function compile(): void {
	mkdirSync(cache, { recursive: true });
	const files = readdirSync(source).map((name) => `${source}${name}`);
	const made = statSync(loadPath, { throwIfNoEntry: false })?.mtimeMs ?? 0;
	// The time of the directory tells of sources that were removed.
	if ([source, ...files].every((file) => statSync(file).mtimeMs < made)) return;
	const units = files.filter((file) => file.endsWith('.c'));
	try {
		execFileSync('gcc', ['-O2', '-Wall', '-o', loadPath, ...units, '-lpthread'], { stdio: 'pipe' });
	} catch (error) {
		throw new Error('the load generators do not compile: install gcc and the headers of libc', {
			cause: error,
		});
	}
}

/**
 * One run according to `settings` (bench/load/run.c), whose scripts see the variables `env`. Throws when any process of it
 * fails.
 */
export function load(settings: Settings, command: string[], env: Record<string, string>): Run {
	const args = Object.entries(settings).map(([key, value]) => `${key}=${value}`);
	const done = spawnSync(loadPath, ['run', ...args, '--', ...command], { encoding: 'utf8', env });
	if (done.status === 0) {
		const { progress, ...run } = JSON.parse(done.stdout);
		return { ...run, shards: progress?.shards.map(({ size }: { size: number }) => size) ?? [] };
	}
	throw new Error(
		`${command.join(' ')} failed between ${args.join(' ')} (${done.signal ?? done.status}):\n${done.stderr}`,
	);
}

/** Touches and frees as much memory as a run needs. */
export function warm(bytes: number): void {
	execFileSync(loadPath, ['warm', String(Math.round(bytes))]);
}

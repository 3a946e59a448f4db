/** The built command as a child process, with real pipes as its shards. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import split2 from 'split2';
import { afterwards } from './cleanup.js';
import { type End, pipe, type ReadEnd, type WriteEnd } from './pipe.js';
import { skipImpossible } from './suite.js';
import { temporaryDirectory } from './temporary.js';
import { until } from './until.js';

/** The words that start the command. */
export type Program = readonly [command: string, ...first: string[]];
/** The action script. */
export const HOOK = fileURLToPath(new URL('../../scripts/criu-streamer-hook', import.meta.url));
export const ours: Program = [process.execPath, fileURLToPath(new URL('../../dist/bin.js', import.meta.url))];

/** The original, where $STREAMER_PEER names its binary; otherwise the test is skipped. */
export function peer(): Program {
	const path = process.env.STREAMER_PEER;
	if (!path) skipImpossible('the original is not at hand: STREAMER_PEER=/path/to/criu-image-streamer');
	if (!existsSync(path)) throw new Error(`STREAMER_PEER: ${path} is not there`);
	return [path];
}

export interface StartOptions {
	program?: Program;
	/** The child's descriptors 0, 1, and 3 and up; it owns these ends from then on. /dev/null where one is undefined. */
	stdin?: End | undefined;
	stdout?: End | undefined;
	fds?: readonly End[];
	env?: Record<string, string>;
	cwd?: string;
}

/** A running command; it is killed when the test ends. */
export class Streamer {
	/** The output so far. */
	stderr = '';
	/** Its complete lines. */
	readonly lines: string[] = [];
	/** "exit code 0" or "signal SIGTERM", once it has ended. */
	ended: string | undefined;
	readonly pid: number;
	/** Resolves with {@link ended}, when stderr is complete too. */
	readonly end: Promise<string>;
	readonly #child: ChildProcess;

	constructor(args: readonly string[], options: StartOptions = {}) {
		const { program: [command, ...first] = ours, stdin, stdout, fds = [], env, cwd } = options;
		const given = [stdin, stdout, undefined, ...fds];
		const stdio = given.map((end, i) => end?.forChild() ?? (i === 2 ? 'pipe' : 'ignore'));
		this.#child = spawn(command, [...first, ...args], {
			stdio: stdio as ('pipe' | 'ignore' | number)[],
			env: { ...process.env, ...env },
			cwd,
		});
		for (const end of given) end?.close();
		this.pid = this.#child.pid ?? 0;
		this.#child.stderr!.pipe(split2()).on('data', (line: string) => this.lines.push(line));
		this.#child.stderr!.setEncoding('utf8').on('data', (text) => (this.stderr += text));
		this.end = new Promise((resolve, reject) => {
			this.#child.on('error', reject);
			this.#child.on('close', (code, signal) => {
				resolve((this.ended = signal ? `signal ${signal}` : `exit code ${code}`));
			});
		});
		afterwards(async () => {
			this.kill('SIGKILL');
			await this.end;
		});
	}

	kill(signal: NodeJS.Signals): void {
		if (!this.ended) this.#child.kill(signal);
	}

	/** Resolves with stderr when the command has ended with `code`; throws when it ends otherwise. */
	async ends(code = 0): Promise<string> {
		const end = await this.end;
		if (end !== `exit code ${code}`)
			throw new Error(`ended with ${end}, not ${code}; stderr: ${this.stderr}`);
		return this.stderr;
	}

	/** Resolves once `line` is on stderr. */
	async line(line: string): Promise<void> {
		await until(`the line ${line}`, () => {
			if (this.lines.includes(line)) return true;
			if (this.ended) throw new Error(`ended (${this.ended}) without the line ${line}: ${this.stderr}`);
			return false;
		});
	}
}

export interface SideOptions extends StartOptions {
	/** The work dir; a new directory if absent. */
	work?: string;
	/** As --shard-fds; undefined: one, as stdin or stdout. */
	shards?: number;
	/** --ext-file-fds. */
	ext?: Record<string, End>;
	/** More options, before the command. */
	args?: readonly string[];
}

/** Options and descriptors from 3 on, for the shards and the ext files. */
function descriptors(shards: readonly End[] | undefined, ext: Record<string, End> = {}) {
	const fds = [...(shards ?? []), ...Object.values(ext)];
	const number = (end: End) => 3 + fds.indexOf(end);
	const args = shards ? ['--shard-fds', shards.map(number).join()] : [];
	const files = Object.entries(ext).map(([name, end]) => `${name}:${number(end)}`);
	return { fds, args: files.length ? [...args, '--ext-file-fds', files.join()] : args };
}

/** The original has only --images-dir, and accepts options only before the command. */
function directoryOptions(work: string, program?: Program): string[] {
	return program && program !== ours ? ['--images-dir', work] : ['--work-dir', work];
}

/** A capture; `shards` are for the test to read. */
export function startCapture(options: SideOptions = {}) {
	const work = options.work ?? temporaryDirectory();
	const pipes = Array.from({ length: options.shards ?? 1 }, pipe);
	return {
		...startCaptureInto(
			pipes.map(({ writeEnd }) => writeEnd),
			{ ...options, work },
		),
		shards: pipes.map(({ readEnd }) => readEnd),
	};
}

/** A capture that writes into `ends`. */
function startCaptureInto(ends: WriteEnd[], options: SideOptions & { work: string }) {
	const { work, shards, ext, args = [], fds = [], ...rest } = options;
	const given = descriptors(shards === undefined ? undefined : ends, ext);
	const process = new Streamer([...directoryOptions(work, rest.program), ...given.args, ...args, 'capture'], {
		...rest,
		stdout: shards === undefined ? ends[0] : undefined,
		fds: [...given.fds, ...fds],
	});
	return { process, work };
}

/** An extract that replays from `work`, or one to disk with `imagesDir`; `shards` are for the test to write to. */
export function startExtract(options: SideOptions & { imagesDir?: string; command?: string } = {}) {
	const pipes = Array.from({ length: options.shards ?? 1 }, pipe);
	return {
		...startExtractFrom(
			pipes.map(({ readEnd }) => readEnd),
			options,
		),
		shards: pipes.map(({ writeEnd }) => writeEnd),
	};
}

/** An extract that reads from `ends`. */
export function startExtractFrom(
	ends: ReadEnd[],
	options: SideOptions & { imagesDir?: string; command?: string } = {},
) {
	const { shards, ext, args = [], fds = [], imagesDir, command, ...rest } = options;
	const work = options.work ?? temporaryDirectory();
	const given = descriptors(shards === undefined ? undefined : ends, ext);
	const directory = imagesDir ? ['--images-dir', imagesDir] : directoryOptions(work, rest.program);
	const isPeer = rest.program !== undefined && rest.program !== ours;
	const what = command ?? (isPeer && !imagesDir ? 'serve' : 'extract');
	const process = new Streamer([...directory, ...given.args, ...args, what], {
		...rest,
		stdin: shards === undefined ? ends[0] : undefined,
		fds: [...given.fds, ...fds],
	});
	return { process, work };
}

/** `capture | extract`, connected by `shards` pipes. */
export function startPipeline(
	options: {
		shards?: number;
		capture?: SideOptions;
		extract?: SideOptions & { imagesDir?: string; command?: string };
	} = {},
) {
	const shards = options.shards === undefined ? {} : { shards: options.shards };
	const pipes = Array.from({ length: options.shards ?? 1 }, pipe);
	const work = options.capture?.work ?? temporaryDirectory();
	const capture = startCaptureInto(
		pipes.map(({ writeEnd }) => writeEnd),
		{ ...options.capture, ...shards, work },
	);
	const extract = startExtractFrom(
		pipes.map(({ readEnd }) => readEnd),
		{ ...options.extract, ...shards },
	);
	return { capture, extract };
}

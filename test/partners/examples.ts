/** The examples of a document, run by bash as written: only paths and ports are changed for the test. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundled } from '../support/bundled.js';
import { afterwards } from '../support/cleanup.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';

/** More than all filters and pipes hold, so that a stream that stops is noticed. */
const PAGES_BYTES = 12_000_000;
/** Time limit of a script: none takes a tenth of it on an ordinary machine. */
const SCRIPT_SECONDS = 240;

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

/**
 * The shell code below each heading of a document, by heading, for headings that start with `mark`; the code before the
 * first one is under ''.
 */
export function examplesOf(document: string, mark = '## '): Map<string, string> {
	const text = readFileSync(path(`../../${document}`), 'utf8');
	const sections = text
		.split(new RegExp(`^${mark}`, 'm'))
		.map((section, i) => (i ? section : `\n${section}`));
	return new Map(
		sections.map((section) => [
			section.slice(0, section.indexOf('\n')),
			[...section.matchAll(/^```sh\n(.*?)^```/gms)].map(([, code]) => code!).join(''),
		]),
	);
}

let standInPath: string | undefined;

/** The path of a program that acts as CRIU. */
function standIn(): string {
	standInPath ??= bundled(path('criu.ts'));
	return standInPath;
}

/** The result of a script. */
export interface Ended {
	code: number | null;
	/** stdout and stderr. */
	output: string;
}

/** A directory that scripts run in, with the streamer and `criu` in their PATH, and a process to dump. */
export class Stage {
	readonly directory = temporaryDirectory();
	readonly env: NodeJS.ProcessEnv;
	/** The pid of the process that the examples dump. */
	readonly pid: number;
	#scripts = 0;

	/** @param criu the path of a real one; otherwise `criu` is a stand-in */
	constructor(criu?: string) {
		for (const name of ['bin', 'run', 'srv', 'dumped']) mkdirSync(join(this.directory, name));
		this.provide('criu-image-streamer', process.execPath, path('../../dist/bin.js'));
		this.provide('criu-streamer-hook', path('../../scripts/criu-streamer-hook'));
		if (!criu) this.provide('criu', process.execPath, standIn());
		else if (criu.includes('/')) this.provide('criu', criu);
		for (const [name, size] of Object.entries({ 'core-1': 900, 'pages-1': PAGES_BYTES, 'pages-2': 70_000 }))
			writeFileSync(join(this.directory, 'dumped', `${name}.img`), randomBytes(size));
		writeFileSync(join(this.directory, 'dumped', 'inventory.img'), 'inventory');
		const application = spawn('sleep', ['3600'], { stdio: 'ignore' });
		this.pid = application.pid!;
		afterwards(() => application.kill('SIGKILL'));
		this.env = {
			...process.env,
			PATH: `${join(this.directory, 'bin')}:${process.env.PATH}`,
			PID: String(this.pid),
			// Where one side fails, the other does not wait for ten minutes.
			CRIU_STREAMER_TIMEOUT: '100',
			STAND_IN_IMAGE: join(this.directory, 'dumped'),
			STAND_IN_LOG: join(this.directory, 'log'),
		};
	}

	/** Creates the command `name` from words. */
	provide(name: string, ...command: string[]): void {
		const file = join(this.directory, 'bin', name);
		writeFileSync(file, `#!/bin/sh\nexec ${command.map((word) => `'${word}'`).join(' ')} "$@"\n`);
		chmodSync(file, 0o755);
	}

	/** Runs a script to its end, with /run/ and /srv/ in the directory. Ends all of its processes when the test ends. */
	async run(script: string): Promise<Ended> {
		const here = script.replaceAll(/\/(run|srv)\//g, `${this.directory}/$1/`);
		// A file: background processes would hold a pipe open, and its end would not be seen.
		const messages = join(this.directory, `messages-${this.#scripts++}`);
		const out = openSync(messages, 'w');
		const child = spawn('bash', ['-eo', 'pipefail', '-c', here], {
			cwd: this.directory,
			env: this.env,
			stdio: ['ignore', out, out],
			detached: true,
		});
		closeSync(out);
		afterwards(() => {
			try {
				process.kill(-child.pid!, 'SIGKILL');
			} catch {
				// All processes have ended.
			}
		});
		let code: number | null | undefined;
		child.on('exit', (status) => {
			code = status;
		});
		try {
			await until('the end of the script', () => code !== undefined, SCRIPT_SECONDS);
		} catch (error) {
			throw new Error(`${(error as Error).message}; it printed: ${readFileSync(messages, 'utf8')}`);
		}
		return { code: code ?? null, output: readFileSync(messages, 'utf8') };
	}

	/** Runs a script that must succeed. */
	async succeeds(script: string): Promise<string> {
		const { code, output } = await this.run(script);
		if (code !== 0) throw new Error(`the script ended with ${code}: ${output}`);
		return output;
	}

	/** Which of dump and restore have succeeded, in order. */
	get log(): string[] {
		const log = this.env.STAND_IN_LOG!;
		return existsSync(log) ? readFileSync(log, 'utf8').split('\n').slice(0, -1) : [];
	}

	/** Whether the process that the examples dump exists. */
	get lives(): boolean {
		return !/^State:\s+Z/m.test(readFileSync(`/proc/${this.pid}/status`, 'utf8').toString());
	}
}

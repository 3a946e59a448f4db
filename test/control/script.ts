/** The action script, run as CRIU runs it. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { afterwards } from '../support/cleanup.js';
import { HOOK } from '../support/streamer.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';

/** Leads to the Node of this process. */
const PATH = `${dirname(process.execPath)}:${process.env.PATH}`;

/** The path by which CRIU names its images directory to scripts. */
export function imageDir(dir: string): string {
	const fd = openSync(dir, 'r');
	afterwards(() => closeSync(fd));
	return `/proc/${process.pid}/fd/${fd}`;
}

export class Script {
	readonly child: ChildProcess;
	readonly end: Promise<{ code: number | null; stderr: string }>;
	ended = false;

	constructor(
		action: string | undefined,
		dir: string,
		env: Record<string, string> = {},
		path = HOOK,
		options: SpawnOptions = {},
	) {
		const criu = action === undefined ? {} : { CRTOOLS_SCRIPT_ACTION: action, CRTOOLS_IMAGE_DIR: dir };
		this.child = spawn(path, [], {
			env: { PATH, ...criu, ...env },
			stdio: ['ignore', 'ignore', 'pipe'],
			...options,
		});
		let stderr = '';
		this.child.stderr!.setEncoding('utf8').on('data', (text) => (stderr += text));
		this.end = once(this.child, 'close').then(([code]) => {
			this.ended = true;
			return { code, stderr };
		});
		afterwards(async () => {
			this.child.kill('SIGKILL');
			await this.end;
		});
	}

	async succeeds(): Promise<void> {
		assert.equal(await this.end, { code: 0, stderr: '' });
	}

	/** Expects one line on stderr, which matches all of `parts`. */
	async fails(...parts: RegExp[]): Promise<void> {
		const { code, stderr } = await this.end;
		assert.is(code, 1, stderr);
		assert.match(stderr, /^criu-image-streamer: [^\n]+\n$/);
		for (const part of parts) assert.match(stderr, part);
	}
}

/** Runs the script for `action` of a CRIU whose images directory is `dir`. */
export const run = (action: string, dir: string, env?: Record<string, string>) =>
	new Script(action, imageDir(dir), env);

/** Whether Node has replaced the shell of `script`. */
export function isNode({ child }: Script): boolean {
	try {
		return readlinkSync(`/proc/${child.pid}/exe`) === process.execPath;
	} catch {
		return false;
	}
}

/** An environment whose Node only leaves a mark, and fails. */
export function withoutNode(): { env: { PATH: string }; started: () => boolean } {
	const { env, directory } = withProgram('node', ': >"$(dirname "$0")/started"; exit 3');
	return { env, started: () => existsSync(join(directory, 'started')) };
}

/** An environment in which the shell script `text` is found first, as `name`. */
export function withProgram(name: string, text: string): { env: { PATH: string }; directory: string } {
	const directory = temporaryDirectory();
	writeFileSync(join(directory, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
	return { env: { PATH: `${directory}:${PATH}` }, directory };
}

/** A process that holds `dir` open as CRIU does, and whose command line is CRIU's. */
export async function pretendCriu(
	command: string,
	dir: string,
): Promise<{ child: ChildProcess; imageDir: string }> {
	const child = shellAsCriu(command, dir, 'echo ready\nread line\n');
	await once(child.stdout!, 'data');
	return { child, imageDir: `/proc/${child.pid}/fd/3` };
}

/** A CRIU that starts the action script itself: its own death is not that of the script. */
export class ActingCriu {
	/** What its scripts have written, and `action: status` for each that has ended. */
	output = '';
	readonly child: ChildProcess;

	constructor(dir: string) {
		const script = `CRTOOLS_SCRIPT_ACTION=$action '${HOOK}' 2>&1; echo "$action: $?"`;
		this.child = shellAsCriu(
			'dump',
			dir,
			`export CRTOOLS_IMAGE_DIR=/proc/$$/fd/3\nwhile read -r action; do ${script}; done\n`,
		);
		this.child.stdout!.setEncoding('utf8').on('data', (text) => (this.output += text));
	}

	/** Starts the script for `action`. */
	run(action: string): void {
		this.child.stdin!.write(`${action}\n`);
	}

	/** Waits for a script, or for what it writes. */
	async says(text: string): Promise<void> {
		await until(text, () => this.output.includes(text));
	}
}

/** A shell that runs `text` under CRIU's command line, with `dir` as descriptor 3. */
function shellAsCriu(command: string, dir: string, text: string): ChildProcess {
	const folder = temporaryDirectory();
	const loader = join(folder, 'ld-waits.so');
	symlinkSync('/bin/sh', loader);
	writeFileSync(join(folder, 'criu'), text);
	const fd = openSync(dir, 'r');
	const child = spawn(loader, [join(folder, 'criu'), command, '--stream'], {
		stdio: ['pipe', 'pipe', 'ignore', fd],
		env: { ...process.env, PATH },
	});
	closeSync(fd);
	const exit = once(child, 'exit');
	afterwards(async () => {
		child.kill('SIGKILL');
		await exit;
	});
	return child;
}

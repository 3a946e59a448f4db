/** The action script, run as CRIU runs it. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { afterwards } from '../support/cleanup.js';
import { HOOK } from '../support/streamer.js';
import { temporaryDirectory } from '../support/temporary.js';

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
			env: { PATH: `${dirname(process.execPath)}:${process.env.PATH}`, ...criu, ...env },
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

/** A process that holds `dir` open as CRIU does, and whose command line is CRIU's. */
export async function pretendCriu(
	command: string,
	dir: string,
): Promise<{ child: ChildProcess; imageDir: string }> {
	const folder = temporaryDirectory();
	const loader = join(folder, 'ld-waits.so');
	symlinkSync('/bin/sh', loader);
	writeFileSync(join(folder, 'criu'), 'echo ready\nread line\n');
	const fd = openSync(dir, 'r');
	const child = spawn(loader, [join(folder, 'criu'), command, '--stream'], {
		stdio: ['pipe', 'pipe', 'ignore', fd],
	});
	closeSync(fd);
	const exit = once(child, 'exit');
	afterwards(async () => {
		child.kill('SIGKILL');
		await exit;
	});
	await once(child.stdout!, 'data');
	return { child, imageDir: `/proc/${child.pid}/fd/3` };
}

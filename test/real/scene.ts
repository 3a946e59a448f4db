/**
 * A real CRIU, an application, and shell commands with the streamer between them, as a user would type them. Every wait has
 * a limit that a slow machine never reaches: a hung CRIU fails its test and takes nothing else with it.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import {
	closeSync,
	existsSync,
	mkdirSync,
	openSync,
	readdirSync,
	readFileSync,
	writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { afterwards } from '../support/cleanup.js';
import { temporaryFolder } from '../support/temporary.js';
import { needIn } from '../support/tools.js';
import { until } from '../support/until.js';
import { Application, kill } from './application.js';
import { criuOrSkip, type Program, program, tools } from './programs.js';

/** As much of a log is shown when something fails. */
const LOG_CHARACTERS = 3000;

/** A shell command that runs on, with its messages. */
export class Command {
	/** The exit code, once it has ended. */
	code: number | undefined;

	constructor(
		readonly process: ChildProcess,
		private readonly log: string,
	) {
		process.on('exit', (code, signal) => {
			this.code = code ?? (signal ? 128 : 1);
		});
	}

	messages(): string {
		return readFileSync(this.log, 'utf8');
	}

	/** Waits for its end; its exit code must be as expected. */
	async ends(code = 0): Promise<void> {
		await until('the end of the streamer', () => this.code !== undefined);
		assert.is(this.code, code, this.messages());
	}
}

/** A folder with an application and streamers in it, all gone after the test. */
export class Scene {
	readonly folder = temporaryFolder();
	private commands = 0;

	constructor(readonly criu = criuOrSkip()) {}

	/** Starts an application from programs/ in a session of its own, without a terminal, and waits until it is ready. */
	async start(name: Program, ...args: (string | number)[]): Promise<Application> {
		const { child, output } = this.#spawn(program(name), args.map(String));
		return this.#ready(name, child, output, child.pid!);
	}

	/** {@link start}, as the first process of a pid namespace. */
	async startInPidNamespace(name: Program, ...args: (string | number)[]): Promise<Application> {
		// What unshare says when its child ends must not get into the output, which CRIU expects to be as it was.
		const run = ['sh', '-c', 'exec setsid "$0" "$@" 2>&1', program(name), ...args.map(String)];
		const { child, output } = this.#spawn('unshare', ['--pid', '--fork', ...run], 'ignore');
		const first = await until('the first process of the namespace', () => {
			const path = `/proc/${child.pid}/task/${child.pid}/children`;
			return Number(readFileSync(path, 'utf8').trim()) || undefined;
		});
		return this.#ready(name, child, output, first);
	}

	/** `before`, which CRIU has brought back as process `pid`: in a pid namespace of its own it gets another number outside. */
	restored(before: Application, pid: number): Application {
		const application = new Application(pid, before.output);
		afterwards(() => application.end());
		return application;
	}

	#spawn(command: string, args: string[], stderr?: 'ignore') {
		const output = join(this.folder, 'output');
		const out = openSync(output, 'w');
		const child = spawn(command, args, {
			cwd: this.folder,
			stdio: ['ignore', out, stderr ?? out],
			detached: true,
		});
		closeSync(out);
		return { child, output };
	}

	async #ready(name: Program, child: ChildProcess, output: string, pid: number): Promise<Application> {
		const application = new Application(pid, output);
		afterwards(() => application.end());
		await until(`${name} to start`, () => {
			if (child.exitCode !== null) throw new Error(`${name} ended: ${application.lines().join(' ')}`);
			return application.lines()[0] === 'ready';
		});
		return application;
	}

	/** Runs a command of bash in the folder, where `criu-image-streamer` is ours and `criu` the real one. */
	shell(script: string, env: Record<string, string> = {}): Command {
		needIn(script);
		const log = join(this.folder, `command-${this.commands++}.log`);
		const out = openSync(log, 'w');
		const child = spawn('bash', ['-o', 'pipefail', '-c', script], {
			cwd: this.folder,
			stdio: ['ignore', out, out],
			detached: true,
			env: { ...process.env, PATH: `${tools}:${process.env.PATH}`, criu: this.criu, ...env },
		});
		closeSync(out);
		afterwards(() => kill(-child.pid!, 'SIGKILL'));
		return new Command(child, log);
	}

	/** Runs CRIU on the images folder `folder`, to its end; throws with its log if it does not exit with 0. */
	async run(action: string, folder: string, ...args: string[]): Promise<void> {
		const command = this.criuCommand(action, folder, ...args);
		await until(`the end of criu ${action}`, () => command.code !== undefined);
		if (command.code === 0) return;
		const log = this.log(folder, action).slice(-LOG_CHARACTERS);
		const errors = log.split('\n').filter((line) => /error|warn/i.test(line));
		process.stderr.write(`${log}\n`);
		throw new Error(`criu ${action} failed: ${command.messages()} ${errors.join('; ')}`);
	}

	/** Starts CRIU on the images folder `folder`. */
	criuCommand(action: string, folder: string, ...args: string[]): Command {
		return this.shell(`exec "$criu" ${action} -D ${folder} -v4 -o '${action}.log' ${args.join(' ')}`);
	}

	/** What CRIU has written about it so far. */
	log(folder: string, action: string): string {
		const path = join(this.folder, folder, `${action}.log`);
		return existsSync(path) ? readFileSync(path, 'utf8') : '';
	}

	/** Makes a shell script that runs in the folder; its path. */
	script(text: string): string {
		const path = join(this.folder, `script-${this.commands++}`);
		writeFileSync(path, `#!/bin/sh\ncd ${this.folder} || exit\n${text}\n`, { mode: 0o755 });
		return path;
	}

	makeFolders(...names: string[]): void {
		for (const name of names) mkdirSync(join(this.folder, name));
	}

	/** Dumps into the capture that works in `folder`; the application is gone then. */
	async dump(application: Application, stream: Command, folder = 'src', ...args: string[]): Promise<void> {
		await this.socket(folder, 'capture', stream);
		application.remember();
		await this.run('dump', folder, '--stream', `-t ${application.pid}`, ...args);
		if (!args.includes('--leave-running')) await application.gone();
	}

	/** Restores from the streamer that replays in `folder`. */
	async restore(stream: Command, folder = 'dst', ...args: string[]): Promise<void> {
		await this.socket(folder, 'serve', stream);
		await this.run('restore', folder, '--stream', '-d', ...args);
	}

	/** The application is dumped, restored through `stream`, which leads from src/ to dst/, and right. */
	async pass(application: Application, stream: Command): Promise<void> {
		await this.dump(application, stream);
		await this.restore(stream);
		await stream.ends();
		await application.verify();
	}

	/** Waits for the socket of a streamer. */
	async socket(folder: string, side: 'capture' | 'serve', stream: Command): Promise<void> {
		const path = join(this.folder, folder, `streamer-${side}.sock`);
		await until(path, () => {
			if (stream.code !== undefined)
				throw new Error(`the streamer ended without ${path}: ${stream.messages()}`);
			return existsSync(path);
		});
	}

	/** All image files in the folder. */
	images(): string[] {
		return readdirSync(this.folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
			name.endsWith('.img'),
		);
	}
}

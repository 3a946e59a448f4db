/**
 * A real CRIU, an application, and shell commands with the streamer between them, as a user would type them. Every wait has
 * a limit that a slow machine never reaches: a hung CRIU fails only its own test.
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
import { temporaryDirectory } from '../support/temporary.js';
import { needIn } from '../support/tools.js';
import { until } from '../support/until.js';
import { Application, kill } from './application.js';
import { criuOrSkip, type Program, program, tools } from './programs.js';

/** Characters of a log that are shown after a failure. */
const LOG_CHARACTERS = 3000;

/** A shell command in the background, with its messages. */
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

/** A directory with an application and streamers, all removed after the test. */
export class Scene {
	readonly directory = temporaryDirectory();
	private commands = 0;

	constructor(readonly criu = criuOrSkip()) {}

	/** Starts an application from programs/ in a new session, without a terminal, and waits until it is ready. */
	async start(name: Program, ...args: (string | number)[]): Promise<Application> {
		const { child, output } = this.#spawn(program(name), args.map(String));
		return this.#ready(name, child, output, child.pid!);
	}

	/** {@link start}, as the first process of a pid namespace. */
	async startInPidNamespace(name: Program, ...args: (string | number)[]): Promise<Application> {
		// A message of unshare at the end of its child must not get into the output, whose size CRIU checks.
		const run = ['sh', '-c', 'exec setsid "$0" "$@" 2>&1', program(name), ...args.map(String)];
		const { child, output } = this.#spawn('unshare', ['--pid', '--fork', ...run], 'ignore');
		const first = await until('the first process of the namespace', () => {
			const path = `/proc/${child.pid}/task/${child.pid}/children`;
			return Number(readFileSync(path, 'utf8').trim()) || undefined;
		});
		return this.#ready(name, child, output, first);
	}

	/** `before`, restored as process `pid`: the pid of a process in its own pid namespace differs outside. */
	restored(before: Application, pid: number): Application {
		const application = new Application(pid, before.output);
		afterwards(() => application.end());
		return application;
	}

	#spawn(command: string, args: string[], stderr?: 'ignore') {
		const output = join(this.directory, 'output');
		const out = openSync(output, 'w');
		const child = spawn(command, args, {
			cwd: this.directory,
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

	/** Runs a command of bash in the directory, where `criu-image-streamer` is ours and `criu` the real one. */
	shell(script: string, env: Record<string, string> = {}): Command {
		needIn(script);
		const log = join(this.directory, `command-${this.commands++}.log`);
		const out = openSync(log, 'w');
		const child = spawn('bash', ['-o', 'pipefail', '-c', script], {
			cwd: this.directory,
			stdio: ['ignore', out, out],
			detached: true,
			env: { ...process.env, PATH: `${tools}:${process.env.PATH}`, criu: this.criu, ...env },
		});
		closeSync(out);
		afterwards(() => kill(-child.pid!, 'SIGKILL'));
		return new Command(child, log);
	}

	/** Runs CRIU on the images directory `directory`, to its end; throws with its log if it does not exit with 0. */
	async run(action: string, directory: string, ...args: string[]): Promise<void> {
		const command = this.criuCommand(action, directory, ...args);
		await until(`the end of criu ${action}`, () => command.code !== undefined);
		if (command.code === 0) return;
		const log = this.log(directory, action).slice(-LOG_CHARACTERS);
		const errors = log.split('\n').filter((line) => /error|warn/i.test(line));
		process.stderr.write(`${log}\n`);
		throw new Error(`criu ${action} failed: ${command.messages()} ${errors.join('; ')}`);
	}

	/** Starts CRIU on the images directory `directory`. */
	criuCommand(action: string, directory: string, ...args: string[]): Command {
		return this.shell(`exec "$criu" ${action} -D ${directory} -v4 -o '${action}.log' ${args.join(' ')}`);
	}

	/** The log of CRIU so far. */
	log(directory: string, action: string): string {
		const path = join(this.directory, directory, `${action}.log`);
		return existsSync(path) ? readFileSync(path, 'utf8') : '';
	}

	/** Creates a shell script that runs in the directory; returns its path. */
	script(text: string): string {
		const path = join(this.directory, `script-${this.commands++}`);
		writeFileSync(path, `#!/bin/sh\ncd ${this.directory} || exit\n${text}\n`, { mode: 0o755 });
		return path;
	}

	makeDirectories(...names: string[]): void {
		for (const name of names) mkdirSync(join(this.directory, name));
	}

	/** Dumps into the capture with the work dir `directory`; then waits for the end of the application. */
	async dump(application: Application, stream: Command, directory = 'src', ...args: string[]): Promise<void> {
		await this.socket(directory, 'capture', stream);
		application.remember();
		await this.run('dump', directory, '--stream', `-t ${application.pid}`, ...args);
		if (!args.includes('--leave-running')) await application.gone();
	}

	/** Restores from the replay with the work dir `directory`. */
	async restore(stream: Command, directory = 'dst', ...args: string[]): Promise<void> {
		await this.socket(directory, 'serve', stream);
		await this.run('restore', directory, '--stream', '-d', ...args);
	}

	/** The application is dumped, restored through `stream`, which leads from src/ to dst/, and right. */
	async pass(application: Application, stream: Command): Promise<void> {
		await this.dump(application, stream);
		await this.restore(stream);
		await stream.ends();
		await application.verify();
	}

	/** Waits for the socket of a streamer. */
	async socket(directory: string, side: 'capture' | 'serve', stream: Command): Promise<void> {
		const path = join(this.directory, directory, `streamer-${side}.sock`);
		await until(path, () => {
			if (stream.code !== undefined)
				throw new Error(`the streamer ended without ${path}: ${stream.messages()}`);
			return existsSync(path);
		});
	}

	/** All image files in the directory. */
	images(): string[] {
		return readdirSync(this.directory, { recursive: true, encoding: 'utf8' }).filter((name) =>
			name.endsWith('.img'),
		);
	}
}

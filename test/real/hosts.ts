/**
 * Two hosts for examples/migrate.sh: network namespaces at the ends of a cable (a veth pair), the target with processes and
 * mounts of its own, too, so that its processes may have the same numbers.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import {
	chmodSync,
	closeSync,
	mkdirSync,
	openSync,
	readdirSync,
	readFileSync,
	symlinkSync,
	writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { afterwards } from '../support/cleanup.js';
import { skipImpossible } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { installed, need } from '../support/tools.js';
import { until } from '../support/until.js';
import { criuOrSkip } from './programs.js';

export const SOURCE = '192.0.2.1';
export const TARGET = '192.0.2.2';
/** The first of the streams', one for each test: other tests may run on this machine. */
const STREAM_PORTS = 10_000 + (process.pid % 50_000);
/** The application's. */
export const PORT = 7001;
/** More than all buffers of a connection hold, so that a cut is in the middle. */
const MEGABYTES = 96;
/** Time limit of the whole script, including a stall timeout. */
const SCRIPT_SECONDS = 240;

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

/** Its stderr must not be a file that other processes write to: CRIU compares file sizes. */
export const counter = ['bash', '-c', 'exec perl "$0" "$@" 2>/dev/null', path('programs/counter.pl')];

export function ip(...args: string[]): void {
	const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' });
	if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`);
}

export function read(file: string): string {
	try {
		return readFileSync(file, 'utf8');
	} catch {
		return '';
	}
}

let scenes = 0;

/** Two hosts, the cable between them, and an application on the source; removed when the test ends. */
export class Hosts {
	readonly directory = temporaryDirectory();
	readonly source = `criu-${process.pid}-${++scenes}-a`;
	readonly target = `criu-${process.pid}-${scenes}-b`;
	readonly count = join(this.directory, 'count');
	/** The exit code of the script, once it has ended. */
	code: number | null | undefined;
	/** Words before a command that runs on the target. */
	onTarget: string[] = [];
	/** The application. */
	pid = 0;
	readonly #log = openSync(join(this.directory, 'messages'), 'a');
	readonly #streamPort = STREAM_PORTS + scenes;
	/** The init process of the target; when it ends, every process on the target ends. */
	#init = 0;

	async setUp(): Promise<void> {
		afterwards(() => closeSync(this.#log));
		const criu = criuOrSkip();
		need('ip', 'perl');
		for (const host of [this.source, this.target]) {
			const { status, stderr } = spawnSync('ip', ['netns', 'add', host], { encoding: 'utf8' });
			if (status !== 0) skipImpossible(`no network namespaces here: ${stderr.trim()}`);
			afterwards(() => ip('netns', 'delete', host));
		}
		const cable = ['type', 'veth', 'peer', 'name', 'cable', 'netns', this.target];
		ip('-n', this.source, 'link', 'add', 'cable', ...cable);
		for (const [host, address] of [
			[this.source, SOURCE],
			[this.target, TARGET],
		] as const) {
			ip('-n', host, 'address', 'add', `${address}/24`, 'dev', 'cable');
			for (const link of ['lo', 'cable']) ip('-n', host, 'link', 'set', link, 'up');
		}
		this.#provide(criu);
		await this.#boot();
		const child = this.start(this.onSource, 'perl', path('programs/counter.pl'), this.count, PORT, MEGABYTES);
		this.pid = child.pid!;
		await this.counts();
	}

	/** All messages so far. */
	get output(): string {
		return read(join(this.directory, 'messages'));
	}

	/** Words before a command that runs on the source: CRIU and the application share all but the network with the test. */
	get onSource(): string[] {
		return ['nsenter', `--net=/run/netns/${this.source}`];
	}

	/** The commands in a directory of the PATH; CRIU's can be told to wait with a dump, and to lie about a restore. */
	#provide(criu: string): void {
		const bin = join(this.directory, 'bin');
		mkdirSync(bin);
		symlinkSync(path('../../dist/bin.js'), join(bin, 'criu-image-streamer'));
		symlinkSync(path('../../scripts/criu-streamer-hook'), join(bin, 'criu-streamer-hook'));
		const real = criu.includes('/') ? criu : installed(criu);
		const script = `#!/bin/sh
			while [ "$1" = dump ] && [ -e '${this.directory}/wait' ]; do sleep 0.05; done
			if [ "$1" = restore ] && [ -e '${this.directory}/lie' ]; then '${real}' "$@"; exit 1; fi
			exec '${real}' "$@"`;
		writeFileSync(join(bin, 'criu'), script);
		chmodSync(join(bin, 'criu'), 0o755);
	}

	async #boot(): Promise<void> {
		const inside = ['unshare', '--pid', '--mount', '--fork', '--mount-proc', 'sleep', '3600'];
		const { pid } = this.start(['nsenter', `--net=/run/netns/${this.target}`], ...inside);
		this.#init = await until('the target', () => {
			const child = read(`/proc/${pid}/task/${pid}/children`).trim();
			return read(`/proc/${child}/comm`) === 'sleep\n' && Number(child);
		});
		// It has forked, and its end would not end its child.
		afterwards(() => process.kill(this.#init, 'SIGKILL'));
		this.onTarget = ['nsenter', '--target', String(this.#init), '--net', '--pid', '--mount'];
	}

	/** Starts a command in a new session; it is ended with the test. */
	start(where: string[], ...command: (string | number)[]): ChildProcess {
		const [first, ...rest] = [...where, ...command].map(String);
		const child = spawn(first!, rest, {
			cwd: this.directory,
			env: { ...process.env, PATH: `${join(this.directory, 'bin')}:${process.env.PATH}` },
			stdio: ['ignore', 'ignore', this.#log],
			detached: true,
		});
		afterwards(() => {
			try {
				process.kill(-child.pid!, 'SIGKILL');
			} catch {
				// It has ended.
			}
		});
		return child;
	}

	/** Starts the script of the example, with the target's command as its argument. */
	migrate(): void {
		const address = `tcp://${TARGET}:${this.#streamPort}`;
		const script = this.start(
			this.onSource,
			path('../../examples/migrate.sh'),
			this.pid,
			address,
			...this.onTarget,
		);
		script.on('exit', (code) => {
			this.code = code;
		});
	}

	async ends(code: number): Promise<void> {
		await until('the end of the script', () => this.code !== undefined, SCRIPT_SECONDS);
		assert.is(this.code, code, this.output);
	}

	async says(text: string): Promise<void> {
		await until(text, () => {
			if (this.code !== undefined) throw new Error(`the script ended without ${text}: ${this.output}`);
			return this.output.includes(text);
		});
	}

	/** Waits until the application has counted further, and checks that it never miscounted. */
	async counts(): Promise<void> {
		const numbers = () => read(this.count).split('\n').slice(0, -1);
		const before = numbers().length;
		await until('the application to count', () => numbers().length >= before + 3);
		const wrong = numbers().findIndex((number, i) => number !== String(i + 1));
		assert.is(wrong, -1, `line ${wrong}`);
	}

	/** The answer of the application's port to a client on the source; undefined where nothing listens. */
	ask(address: string): number | undefined {
		const [command, ...args] = this.onSource;
		const asked = ['timeout', '20', 'bash', '-c', `cat < /dev/tcp/${address}/${PORT}`];
		const { stdout } = spawnSync(command!, [...args, ...asked], { encoding: 'utf8' });
		return stdout ? Number(stdout) : undefined;
	}

	/** The command lines of the processes on the target. */
	get processesThere(): string[] {
		const [command, ...args] = this.onTarget;
		const script = 'for p in /proc/[0-9]*; do tr "\\0" " " < $p/cmdline; echo; done 2>/dev/null';
		const { stdout } = spawnSync(command!, [...args, 'bash', '-c', script], { encoding: 'utf8' });
		return stdout.split('\n').filter((line) => line && !line.includes('/proc/[0-9]*'));
	}

	/** The pid of the receiving command on this host. */
	receiver(): number {
		const found = readdirSync('/proc').find((pid) => {
			const words = /^\d+$/.test(pid) ? read(`/proc/${pid}/cmdline`).split('\0') : [];
			return words.includes('--listen') && words.includes(`tcp://${TARGET}:${this.#streamPort}`);
		});
		assert.ok(found, 'there is no receiver');
		return Number(found);
	}

	/** Checks that the application runs on the source, and that nothing of it is on the target. */
	async stays(): Promise<void> {
		await this.ends(1);
		assert.match(this.output, /goes on running here/);
		await this.counts();
		assert.ok(this.ask(SOURCE));
		await until('an empty target', () => this.processesThere.every((line) => /^sleep 3600/.test(line)));
	}
}

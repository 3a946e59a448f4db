/**
 * examples/migrate.sh between two hosts: network namespaces at the ends of a cable (a veth pair). The target also has its
 * own pid and mount namespaces, so that its processes may have the same pids.
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
import { skipImpossible, suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { installed, need } from '../support/tools.js';
import { until } from '../support/until.js';
import { criuOrSkip } from './scene.js';

const test = suite('migration between two hosts');

const SOURCE = '192.0.2.1';
const TARGET = '192.0.2.2';
/** The ports of the stream and of the application; other tests may run on this machine. */
const STREAM_PORT = 10_000 + (process.pid % 50_000);
const PORT = 7001;
/** More than all buffers of a connection hold, so that a cut is in the middle. */
const MEGABYTES = 96;
/** The received bytes of the stream when the cable is cut. */
const BYTES_BEFORE_CUT = 10_000;
/** Time limit of the whole script, including a stall timeout. */
const SCRIPT_SECONDS = 240;

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

/** Its stderr must not be a file that other processes write to: CRIU compares file sizes. */
const counter = ['bash', '-c', 'exec perl "$0" "$@" 2>/dev/null', path('programs/counter.pl')];

function ip(...args: string[]): void {
	const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' });
	if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`);
}

function read(file: string): string {
	try {
		return readFileSync(file, 'utf8');
	} catch {
		return '';
	}
}

let scenes = 0;

/** Two hosts, the cable between them, and an application on the source; removed when the test ends. */
class Hosts {
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

	/**
	 * Creates the commands in a directory of the PATH; the one for CRIU can delay a dump, and report a successful restore as
	 * failed.
	 */
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
		const address = `tcp://${TARGET}:${STREAM_PORT}`;
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
			return words.includes('--listen') && words.includes(`tcp://${TARGET}:${STREAM_PORT}`);
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

test('a process that counts, with an open file and a port, goes to the target', async () => {
	const hosts = new Hosts();
	await hosts.setUp();
	assert.ok(hosts.ask(SOURCE));
	assert.is(hosts.ask(TARGET), undefined);
	hosts.migrate();
	await hosts.ends(0);
	await until('the end of the process on the source', () => !read(`/proc/${hosts.pid}/comm`));
	await hosts.counts();
	assert.ok(hosts.ask(TARGET));
	assert.is(hosts.ask(SOURCE), undefined);
	assert.is(hosts.processesThere.filter((line) => line.includes('counter.pl')).length, 1);
});

test('a cable that is cut in the middle: the process stays', async () => {
	const hosts = new Hosts();
	await hosts.setUp();
	// The target reads nothing more before the dump begins, so that the cut is before the end at any speed.
	writeFileSync(join(hosts.directory, 'wait'), '');
	hosts.migrate();
	await hosts.says('socket-init');
	const receiver = hosts.receiver();
	process.kill(receiver, 'SIGSTOP');
	spawnSync('rm', [join(hosts.directory, 'wait')]);
	await hosts.says('checkpoint-start');
	await until('a part of the stream', () => {
		const queues = [...read(`/proc/${receiver}/net/tcp`).matchAll(/ 01 [0-9A-F]{8}:([0-9A-F]{8}) /g)];
		return queues.some(([, waiting]) => Number.parseInt(waiting!, 16) > BYTES_BEFORE_CUT);
	});
	ip('-n', hosts.source, 'link', 'set', 'cable', 'down');
	process.kill(receiver, 'SIGCONT');
	await hosts.stays();
});

test('a port that is in use on the target: the process stays', async () => {
	const hosts = new Hosts();
	await hosts.setUp();
	const other = join(hosts.directory, 'other');
	const taker = hosts.start(hosts.onTarget, ...counter, other, PORT, 1);
	await until('the other one', () => read(other) !== '');
	hosts.migrate();
	await hosts.ends(1);
	assert.match(hosts.output, /Address already in use/);
	process.kill(-taker.pid!, 'SIGKILL');
	await hosts.stays();
});

test('a restore whose success is not reported: the process stays, and its copy is ended', async () => {
	const hosts = new Hosts();
	await hosts.setUp();
	writeFileSync(join(hosts.directory, 'lie'), '');
	hosts.migrate();
	await hosts.stays();
});

test.run();

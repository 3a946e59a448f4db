/**
 * External commands that tests call. One that is not installed is fetched from this machine's own Debian, without installing
 * it (scripts/get-tools.sh), when the first test needs it; where that fails, the tests that need it are skipped with a
 * reason.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { skip } from './suite.js';

/** The Debian packages of each command; the first package also names the directory that it is kept in. */
const packages: Record<string, readonly [string, ...string[]]> = {
	age: ['age'],
	'age-keygen': ['age'],
	busybox: ['busybox-static'],
	cc: ['gcc', 'libc6-dev'],
	gcc: ['gcc', 'libc6-dev'],
	gpg: ['gnupg'],
	gpgconf: ['gnupg'],
	ip: ['iproute2'],
	lz4: ['lz4'],
	mbuffer: ['mbuffer'],
	'musl-gcc': ['musl-tools'],
	openssl: ['openssl'],
	perl: ['perl'],
	pgrep: ['procps'],
	pv: ['pv'],
	s3cmd: ['s3cmd'],
	script: ['bsdutils'],
	socat: ['socat'],
	ssh: ['openssh-client'],
	'ssh-keygen': ['openssh-client'],
	sshd: ['openssh-server'],
	strace: ['strace'],
	tar: ['tar'],
	zstd: ['zstd'],
};

/** Commands that work only where they are installed: their headers and libraries have absolute paths. */
const FIXED = new Set(['musl-gcc']);

/** Directories that are not in every PATH, although they have commands for all users. */
const SYSTEM_DIRECTORIES = ['/usr/local/sbin', '/usr/sbin', '/sbin'];
/** get-tools.sh gives up by itself before; another run of it may go first. */
const GET_MILLIS = 1_200_000;
const script = fileURLToPath(new URL('../../scripts/get-tools.sh', import.meta.url));
const cache =
	process.env.CRIU_STREAMER_TOOLS ?? fileURLToPath(new URL('../../.cache/tools', import.meta.url));

/** The path of a command, or the reason why there is none. */
type Found = { path: string } | { why: string };
const found = new Map<string, Found>();

/** The path of a command; skips the test where it is not available. Its directory is in the PATH from then on. */
export function tool(command: string): string {
	const known = found.get(command) ?? find(command);
	found.set(command, known);
	return 'path' in known ? known.path : skip(known.why);
}

/** Ensures that the commands are in the PATH; skips the test where one is not available. */
export function need(...commands: string[]): void {
	for (const command of commands) tool(command);
}

/** Ensures that all known commands that a shell script names are in the PATH, like {@link need}. */
export function needIn(script: string): void {
	const words = new Set(script.match(/(?<![\w./-])[\w-]+(?![\w./-])/g));
	need(...Object.keys(packages).filter((command) => words.has(command)));
}

/** The path of a command that is installed. */
export function installed(command: string): string | undefined {
	const directories = [...(process.env.PATH ?? '').split(delimiter), ...SYSTEM_DIRECTORIES];
	return executable(command, directories);
}

function find(command: string): Found {
	const existing = installed(command);
	if (!existing && FIXED.has(command))
		return { why: `${command} is not installed, and works only where it is` };
	const path = existing ?? get(command);
	if (typeof path === 'object') return path;
	const directories = (process.env.PATH ?? '').split(delimiter);
	const directory = dirname(path);
	if (!directories.includes(directory)) process.env.PATH = [...directories, directory].join(delimiter);
	return { path };
}

function executable(command: string, directories: readonly string[]): string | undefined {
	return directories
		.filter((directory) => directory.startsWith('/'))
		.map((directory) => join(directory, command))
		.find((path) => {
			try {
				accessSync(path, constants.X_OK);
				return statSync(path).isFile();
			} catch {
				return false;
			}
		});
}

/** Fetches the packages of a command. */
function get(command: string): string | { why: string } {
	const wanted = packages[command];
	if (!wanted)
		throw new Error(`test/support/tools.ts does not know which package has the command ${command}`);
	const { status, error, stdout, stderr } = spawnSync(script, [cache, ...wanted], {
		encoding: 'utf8',
		stdio: ['ignore', 'pipe', 'pipe'],
		timeout: GET_MILLIS,
	});
	process.stderr.write(stderr ?? '');
	const last = error?.message ?? stderr.trim().split('\n').at(-1);
	if (status !== 0) return { why: `${command} is not installed, and cannot be got: ${last}` };
	const path = executable(command, [stdout.trim()]);
	const why = path
		? unusable(command)
		: `${command} is not installed, and is not in Debian's ${wanted.join(' and ')}`;
	return why ? { why } : path!;
}

/** The reason why a fetched command does not work on this machine. */
function unusable(command: string): string | undefined {
	if (command !== 'sshd' || process.getuid!() !== 0) return undefined;
	// See get-tools.sh.
	const { status, stderr } = spawnSync('unshare', ['--mount', 'true'], { encoding: 'utf8' });
	if (status === 0) return undefined;
	return `sshd is not installed, and to run it without needs a mount namespace, which this machine refuses: ${stderr.trim()}`;
}

/**
 * Whether the application dies after a dump.
 *
 * CRIU puts references to the application's own pages into its pipe. If the application runs again while they are in
 * transit, it changes them, and the image is torn. So references are used only for a dump after which the application surely
 * dies, by CRIU's command line and configuration files; in doubt the pages are copied.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, readlinkSync } from 'node:fs';
import { basename, isAbsolute } from 'node:path';
import { describeError } from '../runtime/errors.js';
import { commandLineOf, criuArguments, criuCommand, splitNuls } from './command-line.js';

/** Properties of a dump, as far as CRIU's options tell. */
export interface DumpKind {
	/** The application surely dies, and CRIU writes the application's own pages. */
	dies: boolean;
	/** The reason for {@link dies}, for messages of -v. */
	why: string;
	/** CRIU runs its action scripts at the end, as it does after a dump but not after a pre-dump. */
	asks: boolean;
	/** CRIU has, or may have, an action script, which asks at the end whether the stream is delivered. */
	script: boolean;
	/** Memory is sent to a page server and not through the stream, as far as CRIU's options are known. */
	pageServer: boolean;
}

/**
 * The only action script whose failure also fails the stream. When another script fails, the application runs on although
 * the image is complete.
 */
const OUR_SCRIPT = 'criu-streamer-hook';
/** CRIU's short options for getopt: those without a value, and those whose value is the rest of the word or the next one. */
const BARE = 'dSsRhVjl';
const VALUED = 'tDovxrJWLM';
/** Size limit for configuration files, which have a few lines. */
const MAX_CONFIG_BYTES = 64 * 1024;

/** The result in doubt. */
const copy = (why: string, asks = false, pageServer = false): DumpKind => ({
	dies: false,
	why,
	asks,
	script: true,
	pageServer,
});

/** Decides for the CRIU that is process `pid` (0: a process that cannot be seen from here). */
export function dumpKindOf(pid: number): DumpKind {
	const argv = pid > 0 ? commandLineOf(pid) : [];
	try {
		return dumpKind(argv, configTexts(pid, argv));
	} catch (error) {
		return copy(`what CRIU was told cannot be read (${describeError(error)})`, dumps(argv));
	}
}

/** Decides by a command line, program first, and the contents of the configuration files that CRIU reads. */
export function dumpKind(argv: string[], configs: string[]): DumpKind {
	if (/^criu: /.test(argv[0] ?? '')) return copy('the dump was asked for over RPC', dumps(argv));
	const args = criuArguments(argv);
	if (!args) return copy('the process on the socket is not known to be CRIU');
	const command = criuCommand(args);
	const configWords = configs.flatMap(wordsOf);
	const pageServer = [...args, ...configWords].some((word) => means(word, 'page-server'));
	if (command !== 'dump')
		return copy(`CRIU was not plainly told to dump (${command ?? 'several commands'})`, false, pageServer);
	const flaw = risk(args, 'on the command line') ?? risk(configWords, 'in a configuration file');
	const script = [...args, ...configWords].some((word) => means(word, 'action-script'));
	if (flaw) return { dies: false, why: flaw, asks: true, script, pageServer };
	return { dies: true, why: 'the application dies after this dump', asks: true, script, pageServer };
}

/** Whether a CRIU with this command line, or this title over RPC, dumps; a pre-dump does not count. */
function dumps(argv: string[]): boolean {
	return /^criu: dump\b/.test(argv[0] ?? '') || criuCommand(criuArguments(argv) ?? []) === 'dump';
}

/** Whether `word` is the long `option`: getopt_long accepts any prefix of its name, and a value after a "=". */
function means(word: string, option: string): boolean {
	const name = /^--([^=]+)/.exec(word)?.[1];
	return name !== undefined && option.startsWith(name);
}

/**
 * The first of `words` that may let the application live, as a reason. A value that looks like an option is treated as one.
 */
function risk(words: string[], where: string): string | undefined {
	for (const [i, word] of words.entries()) {
		const flaw = word.startsWith('--') ? longRisk(word, words[i + 1]) : shortRisk(word);
		if (flaw) return `${flaw} ${where}`;
	}
	return undefined;
}

function longRisk(word: string, next = ''): string | undefined {
	if (means(word, 'leave-running') || means(word, 'leave-stopped'))
		return `${word} lets the application live`;
	// Pages are served after the image is complete; if that fails, the application runs on.
	if (means(word, 'lazy-pages')) return `${word} may let the application live`;
	if (means(word, 'compress')) return `${word} makes CRIU write other bytes than the pages`;
	if (!means(word, 'action-script')) return undefined;
	const script = word.includes('=') ? word.slice(word.indexOf('=') + 1) : next;
	if (basename(script) === OUR_SCRIPT) return undefined;
	return `the action script ${script} may let the application live`;
}

function shortRisk(word: string): string | undefined {
	if (!/^-./.test(word)) return undefined;
	for (const letter of word.slice(1)) {
		if (VALUED.includes(letter)) return undefined;
		if (letter === 'R' || letter === 's') return `-${letter} lets the application live`;
		if (!BARE.includes(letter)) return `the unknown option -${letter}`;
	}
	return undefined;
}

/**
 * Converts a configuration to words of a command line: a line has the name of an option without its dashes, and optionally a
 * value.
 */
function wordsOf(text: string): string[] {
	return text.split('\n').flatMap((line) => {
		const [, name, rest = ''] = /^\s*([^\s#]\S*)\s*(.*)$/.exec(line) ?? [];
		if (name === undefined) return [];
		return [`--${name}`, /^"(.*)"/.exec(rest)?.[1] ?? rest.replace(/\s*#.*$/, '').trim()];
	});
}

/**
 * The contents of every file that CRIU may read options from. Throws where a file cannot be read, or may not be the one that
 * CRIU reads.
 */
function configTexts(pid: number, argv: string[]): string[] {
	// A path leads to the same file for CRIU and for this process only where both have the same mounts and root.
	const same = (link: string) => readlinkSync(`/proc/${pid}/${link}`) === readlinkSync(`/proc/self/${link}`);
	if (!same('ns/mnt') || !same('root')) throw new Error('CRIU sees other files than this process');
	const environ = new Map(
		splitNuls(readFileSync(`/proc/${pid}/environ`, 'utf8')).map((entry) => {
			const at = entry.indexOf('=');
			return [entry.slice(0, at), entry.slice(at + 1)] as const;
		}),
	);
	return configPaths(argv, environ).flatMap(configText);
}

/** The paths of the configuration files that CRIU may read, whether they exist or not. */
export function configPaths(argv: string[], environ: ReadonlyMap<string, string>): string[] {
	const paths: string[] = [];
	if (!argv.includes('--no-default-config')) {
		paths.push('/etc/criu/default.conf');
		const home = environ.get('HOME');
		if (home !== undefined) paths.push(`${home}/.criu/default.conf`);
	}
	const fromEnviron = environ.get('CRIU_CONFIG_FILE');
	if (fromEnviron !== undefined) paths.push(fromEnviron);
	for (const [i, word] of argv.entries()) {
		if (word === '--config') paths.push(argv[i + 1] ?? '');
		// As in CRIU: the option may be anywhere in the word, and the value starts at a fixed position.
		else if (word.includes('--config=')) paths.push(word.slice('--config='.length));
	}
	return paths;
}

function configText(path: string): string[] {
	// CRIU has changed, or is about to change, its current directory.
	if (!isAbsolute(path)) throw new Error(`the configuration file ${path} has no absolute path`);
	let fd: number;
	try {
		fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		if (code === 'ENOENT' || code === 'ENOTDIR') return [];
		throw error;
	}
	try {
		const found = fstatSync(fd);
		if (!found.isFile() || found.size > MAX_CONFIG_BYTES) throw new Error(`${path} is no usual file`);
		return [readFileSync(fd, 'utf8')];
	} finally {
		closeSync(fd);
	}
}

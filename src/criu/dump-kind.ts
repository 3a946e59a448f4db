/**
 * Whether references to the application's pages may leave this process instead of copies.
 *
 * CRIU puts the very pages of the application into its pipe. If the application runs again while they are on their way, it
 * changes them under the reader's eyes, and the image is torn. So references are for a dump after which it surely dies, as
 * far as CRIU's command line and configuration files tell; whatever they leave open is copied.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, readlinkSync } from 'node:fs';
import { basename, isAbsolute } from 'node:path';
import { commandLineOf, criuArguments, criuCommand, splitNuls } from './command-line.js';

/** Whether references are safe, and why, in words for -v. */
export interface DumpKind {
	references: boolean;
	why: string;
}

/** The action script whose failure fails the stream, too; after another's the application runs on beside a whole image. */
const OUR_SCRIPT = 'criu-streamer-hook';
/** CRIU's short options, as getopt has them: those without a value, and those that take the rest of the word for one. */
const BARE = 'dSsRhVjl';
const VALUED = 'tDovxrJWLM';
/** An honest configuration is a few lines. */
const MOST_CONFIG_BYTES = 64 * 1024;

const copy = (why: string): DumpKind => ({ references: false, why });

/** Decides for the CRIU that is process `pid` (0: a process that cannot be seen from here). */
export function dumpKindOf(pid: number): DumpKind {
	const argv = pid > 0 ? commandLineOf(pid) : [];
	try {
		return dumpKind(argv, configTexts(pid, argv));
	} catch (error) {
		return copy(`what CRIU was told cannot be read (${(error as Error).message})`);
	}
}

/** Decides by a command line, program first, and the contents of the configuration files that CRIU reads. */
export function dumpKind(argv: string[], configs: string[]): DumpKind {
	if (/^criu: /.test(argv[0] ?? '')) return copy('the dump was asked for over RPC');
	const args = criuArguments(argv);
	if (!args) return copy('the process on the socket is not known to be CRIU');
	const command = criuCommand(args);
	if (command !== 'dump') return copy(`CRIU was not plainly told to dump (${command ?? 'several commands'})`);
	const flaw = risk(args, 'on the command line') ?? configs.map(configRisk).find(Boolean);
	return flaw
		? copy(flaw)
		: { references: true, why: 'the application dies after this dump, so its pages do not change any more' };
}

/** What in `words` may let the application live. A value that looks like an option is taken for one. */
function risk(words: string[], where: string): string | undefined {
	for (const [i, word] of words.entries()) {
		const flaw = word.startsWith('--') ? longRisk(word, words[i + 1]) : shortRisk(word);
		if (flaw) return `${flaw} ${where}`;
	}
	return undefined;
}

function longRisk(word: string, next: string | undefined): string | undefined {
	const [, name = '', value = next ?? ''] = /^--([^=]*)(?:=(.*))?$/s.exec(word) ?? [];
	// getopt_long takes any beginning of an option's name.
	const means = (option: string) => name !== '' && option.startsWith(name);
	if (means('leave-running') || means('leave-stopped')) return `${word} lets the application live`;
	// Served after the image is complete; if that fails, the application runs on.
	if (means('lazy-pages')) return `${word} may let the application live`;
	if (means('action-script') && basename(value) !== OUR_SCRIPT) {
		return `the action script ${value} may let the application live`;
	}
	return undefined;
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

/** A line is an option's name without its dashes, and perhaps a value, perhaps in quotes. */
function configRisk(text: string): string | undefined {
	for (const line of text.split('\n')) {
		const [, name, rest] = /^\s*([^\s#]\S*)\s*(.*)$/.exec(line) ?? [];
		if (name === undefined) continue;
		const value = /^"(.*)"/.exec(rest!)?.[1] ?? rest!.replace(/\s*#.*$/, '').trim();
		const flaw = risk([`--${name}`, value], 'in a configuration file');
		if (flaw) return flaw;
	}
	return undefined;
}

/** The contents of every file that CRIU may read options from; throws where one cannot be read for sure. */
function configTexts(pid: number, argv: string[]): string[] {
	// A path means the same file to CRIU and to us only where both see the same mounts.
	const sees = (link: string) => readlinkSync(`/proc/${pid}/${link}`) === readlinkSync(`/proc/self/${link}`);
	if (!sees('ns/mnt') || !sees('root')) throw new Error('CRIU sees other files than this process');
	const environ = new Map(
		splitNuls(readFileSync(`/proc/${pid}/environ`, 'utf8')).map((entry) => {
			const at = entry.indexOf('=');
			return [entry.slice(0, at), entry.slice(at + 1)] as const;
		}),
	);
	return configPaths(argv, environ).flatMap(configText);
}

/** The paths of CRIU's configuration files: those it may read, whether they are there or not. */
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
		// As CRIU does it: wherever in the word it finds this, the value starts at the same place.
		else if (word.includes('--config=')) paths.push(word.slice('--config='.length));
	}
	return paths;
}

function configText(path: string): string[] {
	// CRIU has changed, or is about to change, its current folder.
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
		if (!found.isFile() || found.size > MOST_CONFIG_BYTES) throw new Error(`${path} is no usual file`);
		return [readFileSync(fd, 'utf8')];
	} finally {
		closeSync(fd);
	}
}

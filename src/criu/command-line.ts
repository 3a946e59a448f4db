/** The command line of a running CRIU: a streamer and its action script read from it which command CRIU runs. */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';

const commands = [
	'dump',
	'pre-dump',
	'restore',
	'cpuinfo',
	'swrk',
	'service',
	'page-server',
	'lazy-pages',
	'check',
	'dedup',
	'exec',
	'show',
];

/**
 * The arguments of process `pid`, its name first; none where it has ended, is a zombie, or may not be read by this process.
 */
export function commandLineOf(pid: number): string[] {
	try {
		return splitNuls(readFileSync(`/proc/${pid}/cmdline`, 'utf8'));
	} catch {
		return [];
	}
}

/** Splits the arguments or the environment of a process as /proc shows them: each entry ends with a NUL. */
export function splitNuls(text: string): string[] {
	return text.replace(/\0+$/, '').split('\0');
}

/**
 * The first process of the tree that a CRIU with the command line `argv` dumps (-t, --tree; over RPC its title has it as
 * well); undefined where there is no such option.
 */
export function treeOf(argv: string[]): number | undefined {
	const words = argv.flatMap((word) => word.split(' '));
	const at = words.findIndex((word) => /^(-t|--tree)$/.test(word));
	const [, joined] = words.map((word) => /^(?:-t|--tree=)(\d+)$/.exec(word)).find(Boolean) ?? [];
	return Number(joined ?? (at < 0 ? undefined : words[at + 1])) || undefined;
}

/**
 * The arguments after the name of CRIU in `argv`; undefined where it is not a command line of CRIU, which may be started
 * through ld.so.
 */
export function criuArguments(argv: string[]): string[] | undefined {
	const isCriu = (word: string) => /^criu([-._\d]|$)/.test(basename(word));
	const loader = /^ld(-|\.so|64)/.test(basename(argv[0] ?? ''));
	const at = loader ? argv.findIndex((word, i) => i > 0 && isCriu(word)) : isCriu(argv[0] ?? '') ? 0 : -1;
	return at < 0 ? undefined : argv.slice(at + 1);
}

/**
 * The command in CRIU's arguments. A word that is a command's name may also be the value of an option (-D dump), and which
 * options have values depends on CRIU's version: undefined unless all such words are the same.
 */
export function criuCommand(args: string[]): string | undefined {
	const found = new Set(args.filter((word) => commands.includes(word)));
	return found.size === 1 ? [...found][0] : undefined;
}

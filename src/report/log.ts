/**
 * Messages, to stderr, or with --log-file to a file like CRIU's, one line each. Verbosity follows CRIU's -v: 0 nothing, 1
 * errors, 2 warnings, 3 information, 4 everything.
 */
import { PROGRAM } from '../runtime/version.js';
import { linesTo } from './lines.js';

export { flushLines, linesTo } from './lines.js';

/** The log of a command. Its methods never throw and never wait. */
export interface Log {
	/** Something failed. What ends the command is thrown instead, and reported once by its caller. */
	error(text: string): void;
	/** A condition that the user should notice, although the command continues. */
	warn(text: string): void;
	info(text: string): void;
	debug(text: string): void;
}

const levels = ['error', 'warn', 'info', 'debug'] as const;
type Level = (typeof levels)[number];
const FILE_NAMES = { error: 'Error', warn: 'Warn', info: 'Info', debug: 'Debug' };
const STDERR_NAMES = { error: 'error', warn: 'warning', info: 'info', debug: 'debug' };

/** A log of messages up to `verbosity` (0 to 4), to stderr or to the open file `fd`, which the caller owns. */
export function makeLog(verbosity: number, fd?: number): Log {
	const file = fd === undefined ? undefined : linesTo(fd);
	const at = (level: Level) => {
		if (levels.indexOf(level) >= verbosity) return () => {};
		if (file) return (text: string) => file.write(entry(level, text));
		return (text: string) => sayLine(level === 'error' ? text : `${STDERR_NAMES[level]}: ${text}`);
	};
	return { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug') };
}

let stderrIsFile = false;

/** For a daemon, whose stderr is its log from now on. */
export function stderrIsLog(): void {
	stderrIsFile = true;
}

/** Whether stderr is the log. */
export function isStderrLog(): boolean {
	return stderrIsFile;
}

/** Writes a line to stderr under the program's name; stderr may be gone, or full. */
export function sayLine(text: string): void {
	linesTo(2).write(stderrIsFile ? entry('error', text) : `${PROGRAM}: ${oneLine(text)}\n`);
}

/** With the seconds since the process started, as CRIU writes them: (00.012345). */
function entry(level: Level, text: string): string {
	const clock = (performance.now() / 1000).toFixed(6).padStart(9, '0');
	return `(${clock}) ${FILE_NAMES[level]}: ${oneLine(text)}\n`;
}

function oneLine(text: string): string {
	return text.replace(/\p{Cc}+/gu, ' ');
}

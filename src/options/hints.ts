/**
 * The option that cures an error, in words. Messages of the directories below options/ name no option: they are read on the command
 * line and by programs that import the package, where options have other names. Such an error has a code
 * (runtime/stream-error.ts), and the hint of that code is added where the message is shown or sent, in the names of that side.
 */
import { describeError } from '../runtime/errors.js';
import { type ErrorCode, StreamError } from '../runtime/stream-error.js';
import type { OptionName } from './definitions.js';

/** The name of an option in messages: `--memory-limit` on the command line, `memoryLimit` in a program. */
export type NameOption = (option: OptionName) => string;

/** The names of the command line. */
export function onCommandLine(option: OptionName): string {
	return `--${option}`;
}

/** Each continues the message of an error with its code, and so begins with the punctuation. */
const hints: { readonly [code in ErrorCode]?: (name: NameOption) => string } = {
	SOCKET_IN_USE: (name) => `, or choose another ${name('work-dir')}`,
	DUMP_INCOMPLETE: (name) => `; ${name('allow-incomplete')} takes such a stream for whole`,
	STALLED: (name) => `, or allow more with ${name('stall-timeout')}`,
	MEMORY_SHORT: (name) => `; let the rest go to a disk with ${name('spool')} DIR`,
	MEMORY_LIMIT: (name) => ` (${name('memory-limit')}); let the rest go to a disk with ${name('spool')} DIR`,
	SPOOL_FULL: (name) => ` (${name('spool')} DIR)`,
	FILE_EXISTS: (name) => ` (${name('images-dir')}), or say ${name('overwrite')}`,
	ASKED_TWICE: (name) => `: ${name('keep')} holds them`,
	NEEDS_FILES: (name) => ` (extract ${name('images-dir')} DIR)`,
	CORRECTIONS_LOST: (name) => `; dump once more with ${name('zero-copy')} never`,
};

/** The message of `error` and of its causes on one line, with the hint of the first of them whose code has one. */
export function describeWithHint(error: unknown, name: NameOption = onCommandLine): string {
	return describeError(error) + hintOf(error, name);
}

function hintOf(error: unknown, name: NameOption): string {
	for (let at = error; at instanceof Error; at = at.cause) {
		const hint = at instanceof StreamError ? hints[at.code] : undefined;
		if (hint) return hint(name);
	}
	return '';
}

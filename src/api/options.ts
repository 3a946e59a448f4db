/**
 * Converts the object that a program gives to the options of a command. The fields become the words of a command line, so
 * that both are parsed and checked by the same code; errors about an option are reworded to name the field.
 */
import { type Command, definitions, type OptionName } from '../options/definitions.js';
import { describeWithHint } from '../options/hints.js';
import { type Options, readOptions } from '../options/resolve.js';
import { describeError, UsageError } from '../runtime/errors.js';

type Words = string | string[] | boolean;

function text(option: string, value: unknown): Words {
	if (typeof value === 'string' || typeof value === 'number') return String(value);
	throw new UsageError(`${option} has to be a string or a number`);
}

function flag(option: string, value: unknown): Words {
	if (typeof value === 'boolean') return value;
	throw new UsageError(`${option} has to be true or false`);
}

function texts(option: string, value: unknown): string[] {
	if (!Array.isArray(value) || !value.length) throw new UsageError(`${option} has to be an array, not empty`);
	return value.map((one) => text(option, one) as string);
}

function list(option: string, value: unknown): Words {
	return texts(option, value).join();
}

function pairs(option: string, value: unknown): Words | undefined {
	if (typeof value !== 'object' || value === null) throw new UsageError(`${option} has to be an object`);
	return (
		Object.entries(value)
			.map(([key, one]) => `${key}:${text(option, one)}`)
			.join() || undefined
	);
}

/** The options that a program can give, by their names on the command line. The others are only for a separate process. */
const readers: Record<string, (option: string, value: unknown) => Words | undefined> = {
	'work-dir': text,
	'images-dir': text,
	'shard-fds': list,
	'ext-file-fds': pairs,
	'tcp-listen-remap': pairs,
	'zero-copy': text,
	from: text,
	'allow-incomplete': flag,
	keep: flag,
	'criu-clients': text,
	spool: text,
	'memory-limit': text,
	overwrite: flag,
	connect: texts,
	listen: texts,
	shards: text,
	'token-file': text,
	'tls-cert': text,
	'tls-key': text,
	'tls-ca': text,
	'stall-timeout': text,
	'criu-fd': text,
};

/** The options by the name of the field. */
const options = new Map(Object.keys(readers).map((option) => [fieldOf(option), option]));

/** Fields that are not options of the command but of the call. */
const CALL = new Set(['log', 'signal', 'onProgress']);

/** The options of `command`. Throws {@link UsageError} about fields that are unknown, missing or invalid. */
export function optionsOf(command: Command, given: object): Options {
	if (typeof given !== 'object' || given === null) throw new UsageError('options are needed, as an object');
	const raw: Record<string, unknown> = {};
	for (const [field, value] of Object.entries(given)) {
		if (CALL.has(field) || value === undefined) continue;
		const option = options.get(field);
		if (!option) throw new UsageError(`there is no option ${field}`);
		raw[option] = readers[option]!(`--${option}`, value);
	}
	if (!raw['shard-fds'] && !raw.connect && !raw.listen)
		throw new UsageError('--shard-fds, --connect or --listen has to say how the stream travels');
	const directory = command === 'extract' ? 'images-dir' : 'work-dir';
	if (!raw[directory] && !raw.from) throw new UsageError(`--${directory} is missing`);
	return { ...readOptions(command, raw), progressFd: undefined };
}

/** The message of `error` and its causes, for a program. */
export function describe(error: unknown): string {
	return error instanceof UsageError
		? withFieldNames(describeError(error))
		: describeWithHint(error, fieldOf);
}

/** `message` with the names of fields in place of those of the command line's options. CRIU's own options stay. */
function withFieldNames(message: string): string {
	return message.replace(/--([a-z]+(?:-[a-z]+)*)/g, (words, name) =>
		isOption(name) ? fieldOf(name) : words,
	);
}

function isOption(name: string): name is OptionName {
	return Object.hasOwn(definitions, name);
}

function fieldOf(option: string): string {
	return option.replace(/-([a-z])/g, (_, letter) => letter.toUpperCase());
}

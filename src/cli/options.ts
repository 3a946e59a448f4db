/** The options of all commands: what they are called, what they mean, and their values once checked. */
import { UsageError } from '../run/errors.js';
import { checkImageName } from '../wire/image-name.js';
import { MOST_SHARDS } from '../wire/limits.js';

export type Command = 'capture' | 'extract' | 'serve';

/** A file of the user's that is woven into the image, or streamed out of it. */
export interface ExtFile {
	name: string;
	fd: number;
}

/** What a command is asked to do. */
export interface Options {
	command: Command;
	/** Folder of the sockets, the pidfile and the log. */
	workDir: string;
	/** As given; what it means depends on the command. */
	imagesDir: string | undefined;
	/** Undefined: stdout or stdin, unless {@link connect} or {@link listen} say where. */
	shardFds: number[] | undefined;
	extFiles: ExtFile[];
	progressFd: number;
	/** Old port to new port. */
	tcpListenRemap: Map<number, number>;
	zeroCopy: 'auto' | 'always' | 'never';
	allowIncomplete: boolean;
	keep: boolean;
	criuClients: number;
	spool: string | undefined;
	/** Bytes of an image that may be held in memory. */
	memoryLimit: number | undefined;
	overwrite: boolean;
	connect: string[];
	listen: string[];
	/** Connections to each address. */
	shards: number;
	tokenFile: string | undefined;
	tlsCert: string | undefined;
	tlsKey: string | undefined;
	tlsCa: string | undefined;
	/** Milliseconds; 0 never; undefined: none for pipes, a minute for sockets. */
	stallTimeout: number | undefined;
	criuFd: number | undefined;
	daemon: boolean;
	pidfile: string | undefined;
	statusFd: number | undefined;
	logFile: string | undefined;
	/** 0 to 4, as CRIU's. */
	verbosity: number;
	displayStats: boolean;
}

interface Definition {
	alias?: string;
	type: 'string' | 'number' | 'boolean';
	describe: string;
	only?: Command[];
	group: string;
	default?: string | number;
	choices?: string[];
	array?: boolean;
}

const readers: Command[] = ['extract', 'serve'];
const main = 'The image:';
const network = 'Over the network:';
const service = 'As a service:';

/** By name, as on the command line; docs/cli.md has an example of each. */
export const definitions: Record<string, Definition> = {
	'work-dir': {
		alias: 'W',
		type: 'string',
		group: main,
		describe: 'Folder of the sockets, which CRIU gets as its --images-dir [default: images-dir, else .]',
	},
	'images-dir': {
		alias: 'D',
		type: 'string',
		group: main,
		describe: 'extract: writes the files there; otherwise only a place for the socket',
	},
	'shard-fds': {
		alias: 's',
		type: 'string',
		group: main,
		describe: 'Descriptors that carry the stream, as 10,11,12 [default: stdout or stdin]',
	},
	'ext-file-fds': {
		alias: 'e',
		type: 'string',
		group: main,
		describe: 'Files of yours in the image, as name:fd,…',
	},
	'progress-fd': {
		alias: 'p',
		type: 'string',
		group: main,
		describe: 'Where progress goes [default: stderr]',
	},
	'tcp-listen-remap': {
		type: 'string',
		group: main,
		only: readers,
		describe: 'Ports of listening TCP sockets to change, as old:new,…',
	},
	'zero-copy': {
		type: 'string',
		group: main,
		only: ['capture'],
		choices: ['auto', 'always', 'never'],
		default: 'auto',
		describe: 'Move references to the application’s pages: safe only if it dies after the dump',
	},
	'allow-incomplete': {
		type: 'boolean',
		group: main,
		only: ['capture'],
		describe: 'Accept a dump that ended without inventory.img',
	},
	keep: {
		type: 'boolean',
		group: main,
		only: readers,
		describe: 'Keep what CRIU has read, so that it can ask twice',
	},
	'criu-clients': {
		type: 'string',
		group: main,
		only: readers,
		default: '1',
		describe: 'How many times CRIU connects before the command ends',
	},
	spool: {
		type: 'string',
		group: main,
		only: readers,
		describe: 'Folder for what does not fit into memory, in an unnamed file',
	},
	'memory-limit': {
		type: 'string',
		group: main,
		only: readers,
		describe: 'Image bytes to hold in memory, as 4G',
	},
	overwrite: {
		type: 'boolean',
		group: main,
		only: ['extract'],
		describe: 'Replace files that images-dir has already',
	},
	connect: {
		type: 'string',
		array: true,
		group: network,
		describe: 'Connect to tcp://host:port, unix:/path or vsock:cid:port',
	},
	listen: {
		type: 'string',
		array: true,
		group: network,
		describe: 'Wait there for the other side to connect',
	},
	shards: { type: 'string', group: network, default: '1', describe: 'Connections per address' },
	'token-file': { type: 'string', group: network, describe: 'File with a secret that both sides share' },
	'tls-cert': { type: 'string', group: network, describe: 'TLS: certificate of this side (PEM)' },
	'tls-key': { type: 'string', group: network, describe: 'TLS: its key (PEM)' },
	'tls-ca': {
		type: 'string',
		group: network,
		describe: 'TLS: who may sign the other side’s certificate (PEM)',
	},
	'stall-timeout': {
		type: 'string',
		group: network,
		describe: 'Seconds of silence that count as failure; 0 never [default: 60 for sockets, 0 for pipes]',
	},
	'criu-fd': {
		type: 'string',
		group: service,
		describe: 'Socket for CRIU that was handed over, listening or connected',
	},
	daemon: {
		alias: 'd',
		type: 'boolean',
		group: service,
		describe: 'Go on in the background once the socket is ready',
	},
	pidfile: { type: 'string', group: service, describe: 'File for the process id, in the work dir' },
	'status-fd': { type: 'string', group: service, describe: 'Gets one NUL byte when ready' },
	'log-file': { alias: 'o', type: 'string', group: service, describe: 'File for messages, in the work dir' },
	verbosity: {
		type: 'string',
		group: service,
		default: '2',
		describe: 'What to tell, 0 to 4; also -v4, -v and -vv',
	},
	'display-stats': {
		type: 'boolean',
		group: service,
		describe: 'Print what was moved, and how fast, at the end',
	},
};

type Raw = Record<string, unknown>;

/** The options of a parsed command line, checked. Throws {@link UsageError}. */
export function readOptions(command: Command, raw: Raw): Options {
	for (const [name, { only }] of Object.entries(definitions)) {
		const given = raw[name] !== undefined && raw[name] !== false && raw[name] !== definitions[name]!.default;
		if (only && given && !only.includes(command)) {
			throw new UsageError(`--${name} is an option of ${only.join(' and ')}, not of ${command}`);
		}
	}
	const string = (name: string) => single(name, raw[name]);
	const list = (name: string) =>
		((raw[name] as string[] | undefined) ?? []).map((value) => filled(name, value));
	const imagesDir = string('images-dir');
	const options: Options = {
		command,
		workDir: string('work-dir') ?? imagesDir ?? '.',
		imagesDir,
		shardFds: split('shard-fds', string('shard-fds'))?.map((fd) => descriptor('shard-fds', fd)),
		extFiles: (split('ext-file-fds', string('ext-file-fds')) ?? []).map(extFile),
		progressFd: optional('progress-fd', string('progress-fd'), descriptor) ?? 2,
		tcpListenRemap: ports(split('tcp-listen-remap', string('tcp-listen-remap')) ?? []),
		zeroCopy: string('zero-copy') as Options['zeroCopy'],
		allowIncomplete: raw['allow-incomplete'] === true,
		keep: raw.keep === true,
		criuClients: count('criu-clients', string('criu-clients')!, 1_000_000),
		spool: string('spool'),
		memoryLimit: optional('memory-limit', string('memory-limit'), bytes),
		overwrite: raw.overwrite === true,
		connect: list('connect'),
		listen: list('listen'),
		shards: count('shards', string('shards')!, MOST_SHARDS),
		tokenFile: string('token-file'),
		tlsCert: string('tls-cert'),
		tlsKey: string('tls-key'),
		tlsCa: string('tls-ca'),
		stallTimeout: optional('stall-timeout', string('stall-timeout'), millis),
		criuFd: optional('criu-fd', string('criu-fd'), descriptor),
		daemon: raw.daemon === true,
		pidfile: string('pidfile'),
		statusFd: optional('status-fd', string('status-fd'), descriptor),
		logFile: string('log-file'),
		verbosity: level(string('verbosity')!),
		displayStats: raw['display-stats'] === true,
	};
	checkTogether(options);
	return options;
}

function checkTogether(options: Options): void {
	const ways = [
		options.shardFds && '--shard-fds',
		options.connect[0] && '--connect',
		options.listen[0] && '--listen',
	];
	const given = ways.filter(Boolean);
	if (given.length > 1)
		throw new UsageError(`${given.join(' and ')} exclude each other: the stream goes one way`);
	const fds = options.shardFds ?? [];
	if (fds.length > MOST_SHARDS)
		throw new UsageError(`--shard-fds: ${fds.length} shards; ${MOST_SHARDS} are the most`);
	const used = [...fds, ...options.extFiles.map(({ fd }) => fd)];
	const twice = used.find((fd, i) => used.indexOf(fd) !== i);
	if (twice !== undefined)
		throw new UsageError(`fd ${twice} is given twice; each shard and each file needs its own`);
	const names = options.extFiles.map(({ name }) => name);
	const same = names.find((name, i) => names.indexOf(name) !== i);
	if (same !== undefined) throw new UsageError(`--ext-file-fds: ${same} is given twice`);
	if (options.keep && options.command === 'extract' && options.imagesDir !== undefined) {
		throw new UsageError('--keep is for replaying to CRIU; with --images-dir the files are kept anyway');
	}
}

function single(name: string, value: unknown): string | undefined {
	if (value === undefined) return undefined;
	if (Array.isArray(value)) throw new UsageError(`--${name} is given more than once`);
	return filled(name, String(value));
}

function filled(name: string, value: string): string {
	if (value === '') throw new UsageError(`--${name} is empty`);
	return value;
}

function split(name: string, value: string | undefined): string[] | undefined {
	return value?.split(',').map((part) => filled(name, part.trim()));
}

function optional<T>(
	name: string,
	value: string | undefined,
	read: (name: string, value: string) => T,
): T | undefined {
	return value === undefined ? undefined : read(name, value);
}

function descriptor(name: string, value: string): number {
	const fd = Number(value);
	if (!/^\d+$/.test(value) || fd > 0x7fffffff)
		throw new UsageError(`--${name}: ${value} is no file descriptor`);
	return fd;
}

function count(name: string, value: string, most: number): number {
	const number = Number(value);
	if (!/^\d+$/.test(value) || number < 1 || number > most) {
		throw new UsageError(`--${name}: ${value} is no number from 1 to ${most}`);
	}
	return number;
}

function level(value: string): number {
	if (!/^[0-4]$/.test(value)) throw new UsageError(`-v: ${value} is no level from 0 to 4`);
	return Number(value);
}

function millis(name: string, value: string): number {
	if (!/^\d+(\.\d+)?$/.test(value)) throw new UsageError(`--${name}: ${value} is no number of seconds`);
	return Math.round(Number(value) * 1000);
}

function bytes(name: string, value: string): number {
	const parts = /^(\d+)([kmgt]?)(i?b)?$/i.exec(value);
	const exponent = ' kmgt'.indexOf(parts?.[2]?.toLowerCase() || ' ');
	const result = Number(parts?.[1]) * 1024 ** exponent;
	if (!parts || !Number.isSafeInteger(result))
		throw new UsageError(`--${name}: ${value} is no size, as 512M or 4G`);
	return result;
}

function extFile(text: string): ExtFile {
	const at = text.lastIndexOf(':');
	if (at < 1) throw new UsageError(`--ext-file-fds: ${text} is not name:fd`);
	const name = text.slice(0, at);
	try {
		checkImageName(name, '--ext-file-fds');
	} catch (error) {
		throw new UsageError((error as Error).message);
	}
	return { name, fd: descriptor('ext-file-fds', text.slice(at + 1)) };
}

function ports(pairs: string[]): Map<number, number> {
	const result = new Map<number, number>();
	for (const pair of pairs) {
		const [from, to] = /^(\d+):(\d+)$/.exec(pair)?.slice(1).map(Number) ?? [];
		if (from === undefined || to === undefined || from < 1 || to < 1 || from > 65535 || to > 65535) {
			throw new UsageError(`--tcp-listen-remap: ${pair} is not old:new, two ports from 1 to 65535`);
		}
		if (result.has(from)) throw new UsageError(`--tcp-listen-remap: port ${from} is given twice`);
		result.set(from, to);
	}
	return result;
}

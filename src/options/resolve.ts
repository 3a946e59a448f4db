/** Parses the options of a command. Their combination and the machine are checked by other modules of options/. */
import { UsageError } from '../runtime/errors.js';
import type { ExtFile } from '../stream/ext-file.js';
import { MAX_SHARDS } from '../stream/limits.js';
import { type Command, definitions } from './definitions.js';
import {
	bytes,
	count,
	descriptor,
	extFile,
	filled,
	level,
	millis,
	optional,
	ports,
	single,
	split,
} from './values.js';

/** The parsed options of a command. */
export interface Options {
	command: Command;
	/** Directory of the sockets, the pidfile and the log. */
	workDir: string;
	/** As given; its meaning depends on the command. */
	imagesDir: string | undefined;
	/** Undefined: stdout or stdin, unless {@link connect} or {@link listen} has addresses. */
	shardFds: number[] | undefined;
	extFiles: ExtFile[];
	/** Undefined: progress is not written. */
	progressFd: number | undefined;
	/** Old port to new port. */
	tcpListenRemap: Map<number, number>;
	zeroCopy: 'auto' | 'always' | 'never';
	/** An images directory that is the image; undefined: it comes from CRIU. */
	from: string | undefined;
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

/** Maximum of --criu-clients: as many restores, one after another, would take weeks. */
const MAX_CLIENTS = 1_000_000;

type Raw = Record<string, unknown>;

/**
 * The options of a parsed command line or of the object of an API call: `given` has words by the names of options. Throws
 * {@link UsageError} about invalid values.
 */
export function readOptions(command: Command, given: Raw): Options {
	const raw = { ...given };
	for (const [name, { only, choices, default: defaultValue }] of Object.entries(definitions)) {
		raw[name] ??= defaultValue;
		const given = raw[name] !== undefined && raw[name] !== false && raw[name] !== defaultValue;
		if (given && choices && !choices.includes(String(raw[name])))
			throw new UsageError(`--${name}: ${raw[name]} is not one of ${choices.join(', ')}`);
		if (only && given && !only.includes(command)) {
			throw new UsageError(`--${name} is an option of ${only.join(' and ')}, not of ${command}`);
		}
	}
	const string = (name: string) => single(name, raw[name]);
	const list = (name: string) =>
		((raw[name] as string[] | undefined) ?? []).map((value) => filled(name, value));
	const imagesDir = string('images-dir');
	return {
		command,
		workDir: string('work-dir') ?? imagesDir ?? '.',
		imagesDir,
		shardFds: split('shard-fds', string('shard-fds'))?.map((fd) => descriptor('shard-fds', fd)),
		extFiles: (split('ext-file-fds', string('ext-file-fds')) ?? []).map(extFile),
		progressFd: optional('progress-fd', string('progress-fd'), descriptor) ?? 2,
		tcpListenRemap: ports(split('tcp-listen-remap', string('tcp-listen-remap')) ?? []),
		zeroCopy: string('zero-copy') as Options['zeroCopy'],
		from: string('from'),
		allowIncomplete: raw['allow-incomplete'] === true,
		keep: raw.keep === true,
		criuClients: count('criu-clients', string('criu-clients')!, MAX_CLIENTS, 'connections'),
		spool: string('spool'),
		memoryLimit: optional('memory-limit', string('memory-limit'), bytes),
		overwrite: raw.overwrite === true,
		connect: list('connect'),
		listen: list('listen'),
		shards: count('shards', string('shards')!, MAX_SHARDS, 'connections'),
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
}

/**
 * What a program gives to this package, and gets from it. The names are those of the command line's options, which docs/cli.md
 * explains at length; docs/api.md has an example. These types import nothing of the implementation, so that a program which is
 * checked against them needs no types but Node's.
 */
import type { StreamSummary } from '../stream/summary.js';

export type { StreamSummary } from '../stream/summary.js';

/** The stream travels through descriptors of this process. */
export interface Descriptors {
	/**
	 * One to 32 pipes, stream sockets or regular files, each for a part of the stream. The call owns them from its beginning:
	 * it makes them non-blocking, and closes them.
	 */
	shardFds: readonly number[];
	connect?: undefined;
	listen?: undefined;
}

/** The stream travels over connections, which the call makes or accepts. */
export interface Connections {
	/** Connections to each address, the same number on both sides; 1 by default, and 32 in all at most. */
	shards?: number;
	/** A file with a secret that both sides share. */
	tokenFile?: string;
	/** PEM files, for TLS: the certificate of this side, its key, and the CA that signed the other side's. */
	tlsCert?: string;
	tlsKey?: string;
	tlsCa?: string;
	shardFds?: undefined;
}

/** Addresses are tcp://host:port, unix:/path or vsock:cid:port. */
export type Stream =
	| Descriptors
	| (Connections & { connect: readonly string[]; listen?: undefined })
	| (Connections & { listen: readonly string[]; connect?: undefined });

/** Takes messages for people, each a line; `console` is one. What it throws is ignored. */
export interface Logger {
	error?(message: string): void;
	warn?(message: string): void;
	info?(message: string): void;
	debug?(message: string): void;
}

/**
 * - `ready`: the other side can connect, with `listen`; else the shards are open and CRIU can connect. Comes once.
 * - `socket-init`: CRIU can connect.
 * - `checkpoint-start`: CRIU has stopped the application.
 */
export type ProgressEvent = 'ready' | 'socket-init' | 'checkpoint-start';

export interface Common {
	/** Files that become part of the image, or leave it as they come: descriptors by name. A capture reads copies of them; otherwise they are
	 * owned as {@link Descriptors.shardFds}. */
	extFileFds?: Readonly<Record<string, number>>;
	/** Seconds of the other side's silence that count as its end; 0: never. By default 60 for sockets, 0 for pipes. */
	stallTimeout?: number;
	/** Nothing is written to stderr or stdout: without a log, warnings are lost. */
	log?: Logger;
	/** Aborting it ends the call, which rejects with the signal's reason once everything is closed. */
	signal?: AbortSignal;
	/** What it throws is ignored. */
	onProgress?(event: ProgressEvent): void;
}

/** CRIU's side of a dump or a restore. */
export interface CriuSide {
	/**
	 * The directory that CRIU gets as its --images-dir: CRIU's socket and that of its action script are made there (mode 0600), and
	 * so is the directory itself (0700) if it is not there.
	 */
	workDir: string;
	/** A UNIX stream socket for CRIU, connected or listening, in place of the one in {@link workDir}. Owned from now on. */
	criuFd?: number;
}

export type CaptureOptions = Common &
	CriuSide &
	Stream & {
		/** Whether pages leave by reference; see docs/reliability.md. By default "auto": only where that is safe. */
		zeroCopy?: 'auto' | 'always' | 'never';
		/** Takes an image without inventory.img for whole. */
		allowIncomplete?: boolean;
	};

export type ExtractOptions = Common &
	Stream & {
		/** The directory for the files, made if it is not there. They get their names when the whole stream is on the disk. */
		imagesDir: string;
		/** Replaces files that are there; otherwise they are an error. */
		overwrite?: boolean;
	};

export type ServeOptions = Common &
	CriuSide &
	Stream & {
		/** Keeps what CRIU has read, so that it can be asked for again. */
		keep?: boolean;
		/** How many times CRIU connects; 1 by default. */
		criuClients?: number;
		/** Bytes of the image that may be held in memory, or as "4G". */
		memoryLimit?: number | string;
		/** A directory of a local disk for what does not fit, in a file without a name. */
		spool?: string;
		/** Ports of listening TCP sockets to change in the image: new ports by old ones. */
		tcpListenRemap?: Readonly<Record<number, number>>;
	};

/** What passed: bytes and milliseconds of each shard, in the order in which they were given, and the number of files. */
export type Summary = StreamSummary;

/**
 * The arguments and results of the calls of this package. The names are those of the command line's options, which
 * docs/cli.md describes; docs/api.md has an example. These types do not import the implementation, so that a program needs
 * only Node's types to compile against them.
 */
import type { StreamSummary } from '../stream/summary.js';

export type { StreamSummary } from '../stream/summary.js';

/** The stream uses descriptors of this process. */
export interface Descriptors {
	/**
	 * One to 32 pipes, stream sockets or regular files, each for a part of the stream. The call owns them from its start: it
	 * makes them non-blocking, and closes them.
	 */
	shardFds: readonly number[];
	connect?: undefined;
	listen?: undefined;
}

/** The stream uses connections, which the call opens or accepts. */
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

/** Receives messages for people, one line each; `console` is one. Errors that it throws are ignored. */
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
	/**
	 * External files, as descriptors by name: a capture adds their content to the image, a reader writes it to them as it
	 * arrives. A capture reads copies of the descriptors; otherwise they are owned as {@link Descriptors.shardFds}.
	 */
	extFileFds?: Readonly<Record<string, number>>;
	/**
	 * Seconds without progress of the other side after which it counts as dead; 0: never. By default 60 for sockets, 0 for
	 * pipes.
	 */
	stallTimeout?: number;
	/** The call writes nothing to stderr or stdout: without a log, warnings are lost. */
	log?: Logger;
	/** Aborting it ends the call, which rejects with the signal's reason once everything is closed. */
	signal?: AbortSignal;
	/** Errors that it throws are ignored. */
	onProgress?(event: ProgressEvent): void;
}

/** CRIU's side of a dump or a restore. */
export interface CriuSide {
	/**
	 * The directory that CRIU gets as its --images-dir: CRIU's socket and that of its action script are created there (mode
	 * 0600), and so is the directory itself (0700) if it does not exist.
	 */
	workDir: string;
	/** A UNIX stream socket for CRIU, connected or listening, in place of the one in {@link workDir}. The call owns it. */
	criuFd?: number;
}

export type CaptureOptions = Common &
	Stream & {
		/** Accepts an image without inventory.img as complete. */
		allowIncomplete?: boolean;
	} & (FromCriu | FromDirectory);

/** The image comes from a dumping CRIU. */
export interface FromCriu extends CriuSide {
	/** Whether pages are moved by reference; see docs/reliability.md. By default "auto": only where that is safe. */
	zeroCopy?: 'auto' | 'always' | 'never';
	from?: undefined;
}

/** The image is on the disk. */
export interface FromDirectory {
	/** The images directory of a dump; where that is the last of a chain of incremental dumps, the chain is flattened. */
	from: string;
}

export type ExtractOptions = Common &
	Stream & {
		/**
		 * The directory for the files, created if it does not exist. They get their names when the whole stream is on the disk.
		 */
		imagesDir: string;
		/** Replaces existing files; otherwise they are an error. */
		overwrite?: boolean;
	};

export type ServeOptions = Common &
	CriuSide &
	Stream & {
		/** Keeps files that CRIU has read, so that it can request them again. */
		keep?: boolean;
		/** How many times CRIU connects; 1 by default. */
		criuClients?: number;
		/** Bytes of the image that may be held in memory, as a number or as text like "4G". */
		memoryLimit?: number | string;
		/** A directory of a local disk for the data that does not fit into memory, in an unnamed file. */
		spool?: string;
		/** Ports of listening TCP sockets to change in the image: from old to new ports. */
		tcpListenRemap?: Readonly<Record<number, number>>;
	};

/**
 * The transferred data: bytes and milliseconds of each shard, in the order in which they were given, and the number of
 * files.
 */
export type Summary = StreamSummary;

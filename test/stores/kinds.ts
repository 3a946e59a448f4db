/** Every kind of store behind one interface, so that one table of cases runs over all of them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ListeningSocket } from '../../src/criu/socket.js';
import { serve } from '../../src/restore/serve.js';
import { DirectoryStore } from '../../src/stores/directory.js';
import { ExtWriter } from '../../src/stores/ext.js';
import { HeldStore } from '../../src/stores/held.js';
import type { AllocatorOptions } from '../../src/stores/room.js';
import { Image } from '../../src/stream/image.js';
import type { FileWriter, Store } from '../../src/stream/store.js';
import { afterwards } from '../support/cleanup.js';
import { pipe, type ReadEnd } from '../support/pipe.js';
import { StandInRestore } from '../support/stand-in.js';
import { temporaryDirectory } from '../support/temporary.js';

/** A store, and access to its content. */
export interface Filled {
	store: Store;
	/** Its messages with -v. */
	messages: string[];
	/** Completes the store: from now on its files can be read. */
	complete(): Promise<void>;
	read(name: string): Promise<Buffer | undefined>;
}

type Choice = Partial<AllocatorOptions>;

/** A store that holds the image for CRIU. */
export interface Held extends Filled {
	store: HeldStore;
	criu: StandInRestore[];
	/** Resolves or rejects at the end of serving them. */
	served: Promise<void>;
}

/** A store that holds the image for CRIU, and the restoring CRIUs, which connect as soon as it is complete. */
export function held(choice: Choice = {}, clients = 1): Held {
	const messages: string[] = [];
	const log = { info: (text: string) => void messages.push(text) };
	const store = new HeldStore({ keep: false, memoryLimit: undefined, spool: undefined, ...choice, log });
	afterwards(() => store.close());
	const result: Held = {
		store,
		messages,
		criu: [],
		served: Promise.resolve(),
		async complete() {
			const work = temporaryDirectory();
			const criu = ListeningSocket.at(join(work, 'streamer-serve.sock'), clients);
			afterwards(() => criu.close());
			result.served = serve({ criu, image: store.image });
			result.served.catch(() => {});
			for (let i = 0; i < clients; i++) result.criu.push(await StandInRestore.connect(work));
			afterwards(() => {
				for (const criu of result.criu) criu.close();
				return result.served.catch(() => {});
			});
		},
		read: (name: string) => result.criu[0]!.read(name),
	};
	return result;
}

/** Files in a directory, on a file system with unnamed files. */
export function directory(): Filled {
	const path = temporaryDirectory();
	const store = new DirectoryStore(path, false);
	afterwards(() => store.close());
	return {
		store,
		messages: [],
		complete: () => store.finish(),
		read: async (name) => readFileSync(join(path, name)),
	};
}

/** Pipes given by the user, one per file, read as they fill. */
export function ext(): Filled {
	const reads = new Map<string, Promise<Buffer>>();
	return {
		store: {
			image: new Image(),
			create(name) {
				const { readEnd, writeEnd } = pipe();
				reads.set(name, readEnd.all());
				return new ExtWriter(name, writeEnd.handOver(), new AbortController().signal);
			},
		},
		messages: [],
		complete: async () => {},
		read: async (name) => reads.get(name),
	};
}

export const kinds: Record<string, () => Filled> = {
	'buffers and pipes': () => held(),
	'buffers and memory files': () => held({ keep: true }),
	'a spool alone': () => held({ memoryLimit: 0, spool: temporaryDirectory() }),
	'a spool alone, kept': () => held({ keep: true, memoryLimit: 0, spool: temporaryDirectory() }),
	'pipes, then a spool': () => held({ memoryLimit: 1_500_000, spool: temporaryDirectory() }),
	'memory files, then a spool': () =>
		held({ keep: true, memoryLimit: 1_500_000, spool: temporaryDirectory() }),
	'a directory': directory,
	'a pipe given by the user': ext,
};

/** How a file is written: in pieces of so many bytes, from memory or by reference from a pipe. */
export type Manner = readonly (readonly ['append' | 'move', number])[];

/** Writes `bytes` to `writer`, in pieces by repeating `manner`. */
export async function give(writer: FileWriter, bytes: Buffer, manner: Manner): Promise<void> {
	for (let at = 0, turn = 0; at < bytes.length; turn++) {
		const [how, max] = manner[turn % manner.length]!;
		const piece = bytes.subarray(at, at + max);
		at += piece.length;
		const movable = writer.expect(piece.length);
		if (how === 'append' || !movable) await writer.append(piece);
		else await moveAll(writer, piece);
	}
	writer.end();
}

async function moveAll(writer: FileWriter, bytes: Buffer): Promise<void> {
	const { readEnd, writeEnd } = pipe();
	const written = writeEnd.end(bytes);
	// Where the store refuses, the test checks its error.
	written.catch(() => {});
	await move(writer, readEnd, bytes.length);
	await written;
	readEnd.close();
}

async function move(writer: FileWriter, from: ReadEnd, bytes: number): Promise<void> {
	for (let left = bytes; left > 0; ) {
		await from.readable();
		const moved = writer.move(from.fd, left);
		if (moved < 0) await writer.whenRoom();
		else left -= moved;
	}
}

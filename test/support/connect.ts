/** Connecting to a program that may end instead of listening. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { StandInDump, StandInRestore } from './stand-in.js';
import type { Streamer } from './streamer.js';
import { until } from './until.js';

/** The result of `connect` once the socket `name` is in `work`; undefined where the program ends before. */
async function unlessEnded<T>(work: string, name: string, process: Streamer, connect: () => Promise<T>) {
	const socket = join(work, name);
	await until('the socket, or the end', () => process.ended !== undefined || existsSync(socket));
	if (process.ended !== undefined) return undefined;
	return Promise.race([connect().catch(() => undefined), process.end.then(() => undefined)]);
}

export function dumpUnlessEnded(work: string, process: Streamer): Promise<StandInDump | undefined> {
	return unlessEnded(work, 'streamer-capture.sock', process, () => StandInDump.connect(work));
}

export function restoreUnlessEnded(work: string, process: Streamer): Promise<StandInRestore | undefined> {
	return unlessEnded(work, 'streamer-serve.sock', process, () => StandInRestore.connect(work));
}

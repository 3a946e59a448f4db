/** The built command as the two sides of a stream, with a stand-in for CRIU at each. */
import * as assert from 'uvu/assert';
import { content } from '../support/content.js';
import { tokenFile } from '../support/secrets.js';
import { StandInDump, StandInRestore } from '../support/stand-in.js';
import { Streamer } from '../support/streamer.js';
import { temporaryDirectory } from '../support/temporary.js';

type Args = readonly string[];

export const files: Record<string, Buffer> = {
	'core-1.img': content(1, 900),
	'pages-1.img': content(2, 12_000_000),
	'empty.img': Buffer.alloc(0),
};

export interface Side {
	work: string;
	process: Streamer;
}

export function capture(args: Args): Side {
	const work = temporaryDirectory();
	return { work, process: new Streamer(['--work-dir', work, ...args, 'capture']) };
}

export function extract(args: Args): Side {
	const work = temporaryDirectory();
	return { work, process: new Streamer(['--work-dir', work, ...args, 'extract']) };
}

export async function dumpInto(side: Side): Promise<void> {
	const dump = await StandInDump.connect(side);
	await dump.finish(files);
}

export async function restoreFrom(side: Side): Promise<void> {
	const restore = await StandInRestore.connect(side);
	for (const [name, bytes] of Object.entries(files)) {
		assert.ok((await restore.read(name))?.equals(bytes), `${name} is what was dumped`);
	}
	restore.close();
}

export async function carries(from: Side, to: Side): Promise<void> {
	await dumpInto(from);
	await restoreFrom(to);
	await Promise.all([from.process.ends(), to.process.ends()]);
}

/** A secret for both sides, or another one. */
export function token(text?: string): string[] {
	return ['--token-file', tokenFile(text)];
}

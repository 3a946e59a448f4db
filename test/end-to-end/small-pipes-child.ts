/**
 * `small-pipes-child.ts reference|copy`: as a user who has used up the pipe pages that the kernel grants, sends a file
 * through two shards and back out of a store. Exit status 0: success; 3: it cannot become such a user.
 */
import { sendFile } from '../../src/capture/send-file.js';
import { EAGAIN } from '../../src/libc/errno.js';
import { makePipe, pipeSize } from '../../src/libc/pipes.js';
import { HeldStore } from '../../src/stores/held.js';
import { LargeFile } from '../../src/stores/large-file.js';
import { ShardBalancer } from '../../src/stream/balancer.js';
import { ImageWriter } from '../../src/stream/image-writer.js';
import { load } from '../../src/stream/load.js';
import { content } from '../support/content.js';
import { pipe } from '../support/pipe.js';

/** An unused user ID, so that no other process runs out of pipes. */
const ID = 54_321;
/** Two slots: the size of a pipe that the kernel creates then. */
const MIN_PIPE_BYTES = 8192;
/** More pipes than the default limit allows (1024). */
const MAX_PIPES = 4096;
const IMPOSSIBLE = 3;

function useUpPipes(): boolean {
	try {
		process.setgroups!([]);
		process.setgid!(ID);
		process.setuid!(ID);
	} catch {
		return false;
	}
	for (let i = 0; i < MAX_PIPES; i++) {
		const made = makePipe();
		if (typeof made === 'number') return false;
		if (pipeSize(made.readEnd) <= MIN_PIPE_BYTES) return true;
	}
	return false;
}

async function roundTrip(by: 'reference' | 'copy'): Promise<boolean> {
	const bytes = content(1, 300_000);
	const controller = new AbortController();
	const shards = [pipe(), pipe()];
	const shardOf = ({ fd }: { fd: number }) => ({ fd, name: `shard fd ${fd}`, stallMillis: 0 });
	const log = { info() {} };
	const store = new HeldStore({ keep: false, memoryLimit: undefined, spool: undefined, log });
	const loading = load(
		shards.map(({ readEnd }) => shardOf(readEnd)),
		store,
		new AbortController(),
	);
	const writers = shards.map(({ writeEnd }) => shardOf(writeEnd));
	const image = new ImageWriter(new ShardBalancer(writers, controller));
	const { readEnd, writeEnd } = pipe();
	const writing = writeEnd.end(bytes);
	await sendFile({ name: 'pages-1.img', fd: readEnd.fd, by }, image, controller.signal);
	await writing;
	await image.endImage();
	for (const shard of shards) shard.writeEnd.close();
	await loading;
	const held = store.image.file('pages-1.img');
	if (!(held instanceof LargeFile)) return false;
	const out = pipe();
	const got = out.readEnd.all();
	const reader = held.open();
	for (let sent = 1; sent; ) {
		sent = reader.send(out.writeEnd.fd, MIN_PIPE_BYTES);
		if (sent === -EAGAIN) await out.writeEnd.writable();
	}
	out.writeEnd.close();
	return (await got).equals(bytes);
}

const possible = useUpPipes();
process.exit(possible ? Number(!(await roundTrip(process.argv[2] as 'reference' | 'copy'))) : IMPOSSIBLE);

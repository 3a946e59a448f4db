/**
 * One image of a dump: from the pipe that CRIU writes to the shards.
 *
 * A small file is read into memory and leaves with its markers in one write. A large one is moved by reference
 * (capture/copied.ts has the other way, for applications that run on): data gathers in the pipe first, because a reader that
 * takes every page as it comes fights CRIU for the lock of the pipe.
 */
import { read } from '../libc/calls.js';
import { PAGE } from '../libc/constants.js';
import { callError, EAGAIN, EINTR } from '../libc/errno.js';
import { bytesWaiting, enlargePipe } from '../libc/pipes.js';
import { EPOLLIN, poller } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import { yieldToEventLoop } from '../runtime/yield.js';
import type { ShardBalancer } from '../stream/balancer.js';
import { SMALL } from '../stream/shard-writer.js';
import { giveBack, takeBuffer } from './buffers.js';
import { sendCopied } from './copied.js';
import type { Source } from './source.js';

/** While CRIU is filling its pipe, in microseconds: it writes half a pipe of 1 MiB in about so much. */
const GATHER_MICROS = 100;
/** Few bytes in the pipe of a large file: a copy costs less than to move them, and they may lie in pieces over many pages. */
const WORTH_COPYING = 16 << 10;
/** Images of memory are large: they need no look at what comes first. */
const PAGES = /^pages-/;
const NOTHING = Buffer.alloc(0);

/** Sends the whole of `source` to the shards; resolves when its end was written, with false where the file is empty. */
export async function sendImage(
	source: Source,
	shards: ShardBalancer,
	signal: AbortSignal,
): Promise<boolean> {
	const memory = takeBuffer();
	const large = source.by === 'reference' && PAGES.test(source.name);
	const size = large ? 0 : await readStart(source, memory, signal);
	if (size === SMALL && source.by === 'copy') {
		await sendCopied(source, memory, shards, signal);
		return true;
	}
	if (large || size === SMALL) {
		if (size) await sendSmall(source.name, memory, shards, false);
		await sendByReference(source, memory, shards, signal);
	} else {
		const whole = memory.subarray(0, size);
		source.keep?.(whole);
		await sendSmall(source.name, whole, shards, true);
	}
	giveBack(memory);
	return large || size > 0;
}

/** Fills `memory`; returns how many bytes there are, which is less than its length where they are the whole file. */
async function readStart({ name, fd }: Source, memory: Buffer, signal: AbortSignal): Promise<number> {
	for (let size = 0; ; ) {
		const got = read(fd, size ? memory.subarray(size) : memory, memory.length - size);
		if (got === 0) return size;
		if (got > 0) size += got;
		else if (got === -EAGAIN) await waitFor(fd, EPOLLIN, { signal });
		else if (got !== -EINTR) throw callError(`cannot read ${name}`, got);
		if (size === memory.length) return size;
	}
}

/** Sends a file that is in memory, and its end. */
export async function sendBytes(name: string, content: Buffer, shards: ShardBalancer): Promise<void> {
	for (let at = 0; at < content.length; at += SMALL)
		await sendSmall(name, content.subarray(at, at + SMALL), shards, false);
	await sendSmall(name, NOTHING, shards, true);
}

/** `data` is copied by the time that this resolves, or returns undefined. */
function sendSmall(
	name: string,
	data: Buffer,
	shards: ShardBalancer,
	end: boolean,
): Promise<void> | undefined {
	const held = shards.tryTake(data.length);
	if (!held) return sendSmallLater(name, data, shards, end);
	shards.put(held, name, data, end);
	shards.release(held);
	return undefined;
}

async function sendSmallLater(
	name: string,
	data: Buffer,
	shards: ShardBalancer,
	end: boolean,
): Promise<void> {
	const held = await shards.take(data.length);
	shards.put(held, name, data, end);
	shards.release(held);
}

/** `memory` is for the few bytes that are not worth moving. */
async function sendByReference(
	{ name, fd }: Source,
	memory: Buffer,
	shards: ShardBalancer,
	signal: AbortSignal,
): Promise<void> {
	const size = enlargePipe(fd);
	for (;;) {
		await yieldToEventLoop();
		let waiting = bytesWaiting(fd);
		if (waiting > 0) waiting = await gathered(fd, waiting, size);
		if (waiting <= WORTH_COPYING) {
			const got = read(fd, memory, WORTH_COPYING);
			if (got === 0) break;
			if (got > 0) await sendSmall(name, memory.subarray(0, got), shards, false);
			else if (got === -EAGAIN) await waitFor(fd, EPOLLIN, { signal });
			else if (got !== -EINTR) throw callError(`cannot read ${name}`, got);
			continue;
		}
		const held = shards.tryTake(waiting) ?? (await shards.take(waiting));
		const bytes = waiting > held.room ? Math.max(PAGE, held.room - (held.room % PAGE)) : waiting;
		shards.announce(held, name, bytes);
		await held.writer.move(fd, bytes);
		shards.release(held);
	}
	await sendSmall(name, NOTHING, shards, true);
}

/** Waits while CRIU is busy filling the pipe and it is less than half full; returns the bytes that wait in it. */
async function gathered(fd: number, waiting: number, size: number): Promise<number> {
	for (let now = waiting; ; waiting = now) {
		if (waiting >= size >> 1) return waiting;
		await poller.pause(GATHER_MICROS);
		now = bytesWaiting(fd);
		if (now === waiting) return waiting;
	}
}

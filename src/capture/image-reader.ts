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
import { poller } from '../libc/poller.js';
import type { Stop } from '../runtime/stop.js';
import { yieldToEventLoop } from '../runtime/yield.js';
import type { ShardBalancer } from '../stream/balancer.js';
import { SMALL } from '../stream/shard-writer.js';
import { sendCopied } from './copied.js';
import { readable, type Source } from './source.js';

/** While CRIU is filling its pipe, in microseconds: it writes half a pipe of 1 MiB in about so much. */
const GATHER_MICROS = 100;
/** Few bytes in the pipe of a large file: a copy costs less than to move them, and they may lie in pieces over many pages. */
const WORTH_COPYING = 16 << 10;
/** Images of memory are large: they need no look at what comes first. */
const PAGES = /^pages-/;

/** Filled and emptied without anything happening between. */
const scratch = Buffer.allocUnsafeSlow(SMALL);

/** Sends the whole of `source` to the shards; resolves when its end was written, with false where the file is empty. */
export async function sendImage(source: Source, shards: ShardBalancer, stop: Stop): Promise<boolean> {
	if (source.by === 'reference' && PAGES.test(source.name)) {
		await sendByReference(source, shards, stop);
		return true;
	}
	const kept: Buffer[] = [];
	let size = 0;
	for (;;) {
		const got = read(source.fd, size ? scratch.subarray(size) : scratch, SMALL - size);
		if (got > 0) {
			size += got;
			if (size < SMALL) continue;
			const first = together(kept, size);
			if (source.by === 'copy') await sendCopied(source, Buffer.from(first), shards, stop);
			else {
				await sendSmall(source.name, first, shards, false);
				await sendByReference(source, shards, stop);
			}
			return true;
		}
		if (got === 0) {
			const whole = together(kept, size);
			source.keep?.(whole);
			await sendSmall(source.name, whole, shards, true);
			return size > 0;
		}
		if (got !== -EAGAIN && got !== -EINTR) throw callError(`cannot read ${source.name}`, got);
		if (got === -EINTR) continue;
		keep(kept, size);
		await readable(source.fd, stop);
	}
}

/** Moves what the scratch has of a file out of the way of other files. */
function keep(kept: Buffer[], size: number): void {
	const before = kept.reduce((sum, { length }) => sum + length, 0);
	if (size > before) kept.push(Buffer.from(scratch.subarray(before, size)));
}

function together(kept: Buffer[], size: number): Buffer {
	let at = 0;
	for (const part of kept) {
		scratch.set(part, at);
		at += part.length;
	}
	return scratch.subarray(0, size);
}

/** Sends a file that is in memory, and its end. */
export async function sendBytes(name: string, content: Buffer, shards: ShardBalancer): Promise<void> {
	for (let at = 0; at < content.length; at += SMALL)
		await sendSmall(name, content.subarray(at, at + SMALL), shards, false);
	await sendSmall(name, content.subarray(0, 0), shards, true);
}

/** `data` may lie in the scratch: it is copied before anybody else can run. */
function sendSmall(
	name: string,
	data: Buffer,
	shards: ShardBalancer,
	end: boolean,
): Promise<void> | undefined {
	const held = shards.tryTake(data.length);
	if (!held) return sendSmallLater(name, Buffer.from(data), shards, end);
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

async function sendByReference({ name, fd }: Source, shards: ShardBalancer, stop: Stop): Promise<void> {
	const size = enlargePipe(fd);
	for (;;) {
		await yieldToEventLoop();
		let waiting = bytesWaiting(fd);
		if (waiting > 0) waiting = await gathered(fd, waiting, size);
		if (waiting <= WORTH_COPYING) {
			const got = read(fd, scratch, WORTH_COPYING);
			if (got === 0) break;
			if (got > 0) await sendSmall(name, scratch.subarray(0, got), shards, false);
			else if (got === -EAGAIN) await readable(fd, stop);
			else if (got !== -EINTR) throw callError(`cannot read ${name}`, got);
			continue;
		}
		const held = shards.tryTake(waiting) ?? (await shards.take(waiting));
		const bytes = waiting > held.room ? Math.max(PAGE, held.room - (held.room % PAGE)) : waiting;
		shards.announce(held, name, bytes);
		await held.writer.move(fd, bytes);
		shards.release(held);
	}
	await sendSmall(name, scratch.subarray(0, 0), shards, true);
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

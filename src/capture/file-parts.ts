/**
 * A file of the image that is made of parts of files on a disk, in any order. Their pages go from the page cache into a pipe and
 * on to the shards, without a copy; what is between the parts is not read at all. The disk is told early what is needed, since the
 * parts may be as small as a page and far from each other.
 */
import { posixFadvise, pread, splice, write } from '../libc/calls.js';
import {
	POSIX_FADV_RANDOM,
	POSIX_FADV_WILLNEED,
	SPLICE_F_MOVE,
	SPLICE_F_NONBLOCK,
} from '../libc/constants.js';
import { callError, EAGAIN, EINTR, EINVAL, throwIfError } from '../libc/errno.js';
import { bytesWaiting, enlargePipe, makePipe, SHARD_PIPE } from '../libc/pipes.js';
import { poller } from '../libc/poller.js';
import { yieldToEventLoop } from '../runtime/yield.js';
import type { ImageWriter } from '../stream/image-writer.js';
import { chunkBuffers } from './buffers.js';

/** A part of a regular file. */
export interface FilePart {
	fd: number;
	/** For errors. */
	path: string;
	offset: number;
	bytes: number;
}

/** Bytes that the disk is asked for before they are needed: what a fast disk reads in the time of a few of its seeks. */
const AHEAD = 8 << 20;
/** Of one request to the disk. */
const PIECE = 1 << 20;

/** Sends the file `name`, whose content is `parts` in their order, and its end. Their descriptors stay the caller's to close. */
export async function sendParts(name: string, parts: Iterable<FilePart>, image: ImageWriter): Promise<void> {
	const pipe = makePipe();
	if (typeof pipe === 'number') throw callError(`cannot make a pipe for ${name}`, pipe);
	const { readEnd, writeEnd } = pipe;
	const source = new PartReader(writeEnd);
	try {
		enlargePipe(writeEnd, SHARD_PIPE);
		const move = async () => {
			await yieldToEventLoop();
			await image.move(name, readEnd, bytesWaiting(readEnd));
		};
		for (const part of advised(parts)) while (!source.fill(part)) await move();
		while (bytesWaiting(readEnd)) await move();
		await image.end(name);
	} finally {
		source.close();
		poller.close(readEnd);
		poller.close(writeEnd);
	}
}

/** Reads parts into a pipe. */
class PartReader {
	readonly #at = new BigInt64Array(new ArrayBuffer(8));
	/** Where a file system has no splice, the bytes are copied through this. */
	#memory: Buffer | undefined;

	constructor(readonly pipe: number) {}

	/** Puts as much of `part` into the pipe as has room there, and takes it off the part. Returns whether that is all. */
	fill(part: FilePart): boolean {
		while (part.bytes > 0) {
			const moved = this.#memory ? this.#copy(part, this.#memory) : this.#splice(part);
			if (moved === -EAGAIN) return false;
			if (moved === -EINTR) continue;
			if (moved === -EINVAL && !this.#memory) this.#memory = chunkBuffers.take();
			else this.#took(part, moved);
		}
		return true;
	}

	close(): void {
		if (this.#memory) chunkBuffers.giveBack(this.#memory);
	}

	#took(part: FilePart, bytes: number): void {
		throwIfError(bytes, `cannot read ${part.path}`);
		if (bytes === 0)
			throw new Error(`${part.path} ends at byte ${part.offset}: it has become shorter while it was read`);
		part.offset += bytes;
		part.bytes -= bytes;
	}

	#splice({ fd, offset, bytes }: FilePart): number {
		this.#at[0] = BigInt(offset);
		return splice(fd, this.#at, this.pipe, null, bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	}

	#copy({ fd, offset, bytes }: FilePart, memory: Buffer): number {
		const got = pread(fd, memory, Math.min(bytes, memory.length), offset);
		return got > 0 ? write(this.pipe, memory, got) : got;
	}
}

/** `parts` in pieces, each of which was announced to the disk when it was `AHEAD` away. */
function* advised(parts: Iterable<FilePart>): Generator<FilePart> {
	const known = new Set<number>();
	const queue: FilePart[] = [];
	let queued = 0;
	for (const piece of pieces(parts)) {
		// The kernel would read ahead what is behind a part, too.
		if (!known.has(piece.fd)) posixFadvise(piece.fd, 0, 0, POSIX_FADV_RANDOM);
		known.add(piece.fd);
		posixFadvise(piece.fd, piece.offset, piece.bytes, POSIX_FADV_WILLNEED);
		queue.push(piece);
		queued += piece.bytes;
		while (queued > AHEAD) {
			const first = queue.shift()!;
			queued -= first.bytes;
			yield first;
		}
	}
	yield* queue;
}

/** None is larger than `PIECE`. A part that is not is passed on itself, and changes as it is read. */
function* pieces(parts: Iterable<FilePart>): Generator<FilePart> {
	for (const part of parts) {
		if (part.bytes <= PIECE) {
			yield part;
			continue;
		}
		const { fd, path, offset, bytes } = part;
		for (let at = 0; at < bytes; at += PIECE)
			yield { fd, path, offset: offset + at, bytes: Math.min(PIECE, bytes - at) };
	}
}

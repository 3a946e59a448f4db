/**
 * Where the next part of a large file goes: into a pipe, which costs nothing, as long as there are descriptors and the kernel
 * grants large ones; then into memory; and past --memory-limit, or where memory is short, into --spool. Memory and the spool
 * are one file each for the whole image.
 */
import { raiseFileLimit } from '../libc/file-limit.js';
import type { Log } from '../report/log.js';
import { StreamError } from '../runtime/stream-error.js';
import { Arena } from './arena.js';
import { FileSegment } from './file-segment.js';
import { FreeMemory } from './free-memory.js';
import { pipeSegment } from './pipe-segment.js';
import type { Segment } from './segment.js';

/** Descriptors left for everything but parked pipes: sockets, shards, CRIU's pipes, libraries. */
const SPARE_FDS = 1024;
/** Bytes between two looks at how much memory is free: a control group may allow little more than that. */
const LOOK_BYTES = 16 << 20;
/** What has to stay free for CRIU and the application to start with. */
const MIN_FREE = 128 << 20;

export interface AllocatorOptions {
	/** Keep what was read: in memory, since reading a pipe removes its pages. */
	keep: boolean;
	/** Bytes to hold in memory at most. */
	memoryLimit: number | undefined;
	/** Directory for the rest. */
	spool: string | undefined;
	log: Pick<Log, 'info'>;
}

export class SegmentAllocator {
	readonly #fds = raiseFileLimit() - SPARE_FDS;
	#pipes = 0;
	#pipesEnded: boolean;
	#held = 0;
	#looked = 0;
	#spooling = false;
	#memoryFile: Arena | undefined;
	#spool: Arena | undefined;
	readonly #memory = new FreeMemory();
	/** A small control group has less than {@link MIN_FREE} to begin with: then half of it is for the image. */
	readonly #minFree = Math.min(MIN_FREE, this.#memory.bytes() / 2);

	constructor(readonly options: AllocatorOptions) {
		this.#pipesEnded = options.keep;
	}

	/** A segment for what comes next. Throws where there is no room left. */
	next(): Segment {
		if (this.#spooling) return this.#range((this.#spool ??= Arena.inDirectory(this.options.spool!)));
		if (!this.#pipesEnded) {
			const parked = this.#pipes < this.#fds ? pipeSegment() : 'there are no descriptors left';
			if (typeof parked === 'object') {
				this.#pipes++;
				return parked;
			}
			const why = parked === 0 ? 'the kernel grants small pipes only' : 'the kernel makes no more pipes';
			this.#pipesEnded = true;
			this.options.log.info(
				`${typeof parked === 'string' ? parked : why}: further data is kept in a memory file`,
			);
		}
		return this.#range((this.#memoryFile ??= Arena.inMemory()));
	}

	#range(arena: Arena): Segment {
		return new FileSegment(arena, this.options.keep);
	}

	/** So many bytes of what {@link took} counted are not held any more: those of a segment that was closed, for one. */
	gone(segment: Segment | undefined, bytes: number): void {
		if (!segment || segment.inMemory) this.#held -= bytes;
	}

	/** `bytes` more are held; true: memory is full, and what follows needs a new segment. Throws where it has no place. */
	took(segment: Segment | undefined, bytes: number): boolean {
		if (segment && !segment.inMemory) return false;
		this.#held += bytes;
		if (this.#spooling) return true;
		const full = this.#isFull();
		if (!full) return false;
		if (this.options.spool === undefined) throw full;
		this.options.log.info(`${full.message}: the rest goes to ${this.options.spool}`);
		this.#spooling = true;
		return true;
	}

	/** Closes the files that segments were in; segments in pipes are closed by their owners. */
	close(): void {
		this.#memoryFile?.close();
		this.#spool?.close();
	}

	/** What is used up, as an error for where there is no spool. */
	#isFull(): StreamError | undefined {
		const { memoryLimit } = this.options;
		if (memoryLimit !== undefined && this.#held > memoryLimit) {
			return new StreamError(
				'MEMORY_LIMIT',
				`the image needs more than the ${memoryLimit} bytes of memory that it may have`,
			);
		}
		if (this.#held - this.#looked < LOOK_BYTES) return undefined;
		this.#looked = this.#held;
		const free = this.#memory.bytes();
		if (free > this.#minFree) return undefined;
		const held = Math.round(this.#held / 2 ** 20);
		return new StreamError(
			'MEMORY_SHORT',
			`memory is short: ${Math.floor(free / 2 ** 20)} MiB are free, and ${held} MiB of the image are held`,
		);
	}
}

/**
 * Where the next part of a large file goes: into a pipe, which costs nothing, as long as there are descriptors and the kernel
 * grants large ones; then into memory; and past --memory-limit, or where memory is short, into --spool.
 */
import { readFileSync } from 'node:fs';
import { raiseFileLimit } from '../libc/pipes.js';
import type { Log } from '../report/log.js';
import { parkInFolder, parkInMemory } from './file-segment.js';
import { parkInPipe } from './pipe-segment.js';
import type { Segment } from './segment.js';

/** Descriptors left for everything but parked pipes: sockets, shards, CRIU's pipes, libraries. */
const SPARE_FDS = 1024;
/** Between two looks at the machine's memory. */
const LOOK_BYTES = 64 << 20;
/** What has to stay free, so that CRIU and the application that comes back have a start. */
const LEAST_FREE = 128 << 20;

export interface RoomOptions {
	/** Keep what was read: in memory, since a pipe gives its pages away. */
	keep: boolean;
	/** Most bytes to hold in memory. */
	memoryLimit: number | undefined;
	/** Folder for the rest. */
	spool: string | undefined;
	log: Pick<Log, 'info'>;
}

export class Room {
	readonly #fds = raiseFileLimit() - SPARE_FDS;
	#pipes = 0;
	#pipesEnded: boolean;
	#held = 0;
	#looked = 0;
	#spooling = false;

	constructor(readonly options: RoomOptions) {
		this.#pipesEnded = options.keep;
	}

	/** A segment for what comes next. Throws where there is no room left. */
	next(): Segment {
		if (this.#spooling) return parkInFolder(this.options.spool!);
		if (!this.#pipesEnded) {
			const parked = this.#pipes < this.#fds ? parkInPipe() : 'there are no descriptors left';
			if (typeof parked === 'object') {
				this.#pipes++;
				return parked;
			}
			const why = parked === 0 ? 'the kernel grants small pipes only' : 'the kernel makes no more pipes';
			this.#pipesEnded = true;
			this.options.log.info(
				`${typeof parked === 'string' ? parked : why}: the image goes on in memory files`,
			);
		}
		return parkInMemory();
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
		if (this.options.spool === undefined) {
			throw new Error(`${full}; let the rest go to a disk with --spool DIR`);
		}
		this.options.log.info(`${full}: the rest goes to ${this.options.spool}`);
		this.#spooling = true;
		return true;
	}

	#isFull(): string | undefined {
		const { memoryLimit } = this.options;
		if (memoryLimit !== undefined && this.#held > memoryLimit) {
			return `the image needs more than the ${memoryLimit} bytes of --memory-limit`;
		}
		if (this.#held - this.#looked < LOOK_BYTES) return undefined;
		this.#looked = this.#held;
		const free = freeMemory();
		return free < LEAST_FREE
			? `memory is short: ${free >> 20} MiB are free, and ${Math.round(this.#held / 2 ** 20)} MiB of the image are held`
			: undefined;
	}
}

/** Bytes that this process can still get, from the machine and from its control group. */
export function freeMemory(): number {
	const available = /^MemAvailable: +(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'));
	return Math.min(available ? Number(available[1]) * 1024 : Number.POSITIVE_INFINITY, freeInGroup());
}

function freeInGroup(): number {
	try {
		const path = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1];
		const value = (name: string) => Number(readFileSync(`/sys/fs/cgroup${path}/${name}`, 'utf8'));
		const free = value('memory.max') - value('memory.current');
		return Number.isNaN(free) ? Number.POSITIVE_INFINITY : free;
	} catch {
		return Number.POSITIVE_INFINITY;
	}
}

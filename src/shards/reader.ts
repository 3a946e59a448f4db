/**
 * One shard of a stream that is read: markers, and the payload behind some of them.
 *
 * Small records are read many at a time. A large payload stays in the pipe, for a store to take by reference; what a read of
 * markers had taken of it before is handed over as bytes.
 */
import { fcntl, read } from '../libc/calls.js';
import { F_GETPIPE_SZ } from '../libc/constants.js';
import { callError, EAGAIN, EINTR } from '../libc/errno.js';
import { enlargePipe } from '../libc/pipes.js';
import { EPOLLIN, poller } from '../libc/poller.js';
import type { Stop } from '../stop.js';
import { PREFIX_BYTES } from '../wire/frame.js';
import { MOST_MESSAGE_BYTES } from '../wire/limits.js';
import { decodeMarker, type Marker } from '../wire/marker.js';
import type { Shard } from './shard.js';

/** Read at a time while records are small. */
const MANY = 64 << 10;
/** Markers before a payload that is worth moving: what is read beyond them is copied, and shifts it within its pages. */
const FEW = 4;
/** Payloads from this size on are moved. */
export const LARGE = 16 << 10;

export class ShardReader {
	readonly name: string;
	readonly fd: number;
	/** Bytes that were read, markers and payload. */
	bytes = 0;
	/** When the last byte came, as performance.now() has it. */
	last = 0;
	/** A pipe's bytes can be moved; of sockets too, but of them nobody can tell how many there are. */
	readonly isPipe: boolean;
	readonly #buffer = Buffer.allocUnsafeSlow(MANY + PREFIX_BYTES + MOST_MESSAGE_BYTES);
	#from = 0;
	#to = 0;
	#ended = false;
	/** The last payload was large: the next one probably is. */
	#large = false;

	constructor(
		readonly shard: Shard,
		readonly stop: Stop,
	) {
		this.name = shard.name;
		this.fd = shard.fd;
		this.isPipe = fcntl(shard.fd, F_GETPIPE_SZ, 0) > 0;
		if (this.isPipe) enlargePipe(shard.fd);
	}

	/** The next marker if it is there; 'end' at the end of input; undefined: {@link more} has to be waited for. */
	tryMarker(): Marker | 'end' | undefined {
		for (;;) {
			const marker = this.#parse();
			if (marker) return marker;
			if (this.#ended) {
				if (this.#from === this.#to) return 'end';
				throw new Error(
					`${this.name} ends in the middle of a marker: its sender died, or the stream was cut`,
				);
			}
			if (!this.#fill()) return undefined;
		}
	}

	/** Resolves when there may be more to read. */
	async more(): Promise<void> {
		this.stop.check();
		const { stallMillis } = this.shard;
		const timer = stallMillis ? setTimeout(() => this.stop.fail(silent(this.shard)), stallMillis) : undefined;
		const release = this.stop.onFail(() => poller.interrupt(this.fd));
		await poller.until(this.fd, EPOLLIN);
		release();
		clearTimeout(timer);
		this.stop.check();
	}

	/** Up to `bytes` of payload that were read already; they are gone with the next call here. */
	takeBuffered(bytes: number): Buffer {
		const to = Math.min(this.#to, this.#from + bytes);
		const taken = this.#buffer.subarray(this.#from, to);
		this.#from = to;
		return taken;
	}

	/** Reads up to `bytes` of payload into memory that the next call reuses; undefined: there is none yet. */
	tryRead(bytes: number): Buffer | undefined {
		const buffered = this.takeBuffered(bytes);
		if (buffered.length) return buffered;
		// Beyond the payload of a small file there are more records: they come with it.
		if (bytes >= MANY || this.#large) {
			const got = this.#read(0, Math.min(bytes, MANY));
			if (got === undefined) return undefined;
			return this.#buffer.subarray(0, got);
		}
		return this.#fill() ? this.takeBuffered(bytes) : undefined;
	}

	/** Counts payload that a store moved by itself. */
	moved(bytes: number): void {
		this.bytes += bytes;
		this.last = performance.now();
	}

	/** The payload ended before it was whole. */
	cut(): Error {
		return new Error(`${this.name} ends in the middle of a file: its sender died, or the stream was cut`);
	}

	#parse(): Marker | undefined {
		const have = this.#to - this.#from;
		if (have < PREFIX_BYTES) return undefined;
		const length = this.#buffer.readUInt32LE(this.#from);
		if (length > MOST_MESSAGE_BYTES) {
			throw new Error(
				`${this.name} carries a marker of ${length} bytes, and ${MOST_MESSAGE_BYTES} are the most: ` +
					'it is no image stream, or it is damaged, compressed or encrypted',
			);
		}
		if (have < PREFIX_BYTES + length) return undefined;
		const start = this.#from + PREFIX_BYTES;
		this.#from = start + length;
		const marker = decodeMarker(this.#buffer.subarray(start, this.#from), this.name);
		if (marker.kind === 'data') this.#large = this.isPipe && marker.bytes >= LARGE;
		return marker;
	}

	/** Reads what is there and useful; false: nothing is. */
	#fill(): boolean {
		if (this.#from === this.#to) this.#from = this.#to = 0;
		else if (this.#buffer.length - this.#to < MANY) {
			this.#buffer.copyWithin(0, this.#from, this.#to);
			this.#to -= this.#from;
			this.#from = 0;
		}
		const got = this.#read(this.#to, this.#wanted());
		if (got === undefined) return false;
		this.#to += got;
		return true;
	}

	/** Where payloads are large: no more than the next marker, so that their pages stay whole. */
	#wanted(): number {
		if (!this.#large) return MANY;
		const have = this.#to - this.#from;
		if (have < PREFIX_BYTES) return PREFIX_BYTES + FEW - have;
		return PREFIX_BYTES + this.#buffer.readUInt32LE(this.#from) - have;
	}

	#read(at: number, bytes: number): number | undefined {
		for (;;) {
			const got = read(this.fd, at ? this.#buffer.subarray(at) : this.#buffer, bytes);
			if (got === -EINTR) continue;
			if (got === -EAGAIN) return undefined;
			if (got < 0) throw callError(`cannot read the image from ${this.name}`, got);
			if (got === 0) this.#ended = true;
			else this.moved(got);
			return got;
		}
	}
}

function silent({ name, stallMillis }: Shard): Error {
	return new Error(
		`the sender of ${name} has sent nothing for ${stallMillis / 1000} s: ` +
			'look whether it still runs, or allow more with --stall-timeout',
	);
}

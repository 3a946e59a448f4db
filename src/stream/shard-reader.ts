/**
 * One shard of a stream that is read: markers, and the payload behind some of them.
 *
 * What a pipe holds is first moved, all of it and by reference, into a pipe of our own, and read there, where nothing else
 * takes the lock: reading markers from the sender's pipe while the sender fills it costs more than all the rest, because both
 * contend for that lock.
 */
import { fcntl, read } from '../libc/calls.js';
import { F_GETPIPE_SZ, PAGE } from '../libc/constants.js';
import { callError, EAGAIN, EINTR } from '../libc/errno.js';
import { enlargePipe, SHARD_PIPE } from '../libc/pipes.js';
import { EPOLLIN } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import { PREFIX_BYTES } from '../net/frame.js';
import { StallDetector } from '../runtime/stall.js';
import { StreamError } from '../runtime/stream-error.js';
import { MAX_MESSAGE_BYTES } from './limits.js';
import { decodeMarker, type Marker } from './marker.js';
import type { Shard } from './shard.js';
import { Staging } from './staging.js';
import type { FileWriter } from './store.js';

/** Read at a time while records are small. */
const READ_BUFFER = 64 << 10;
/** Bytes of the shortest marker with a payload: what is read beyond a marker is copied, and shifts the payload in its pages. */
const MIN_MARKER = 4;
/** Payloads from this size on are moved. */
const LARGE = 16 << 10;
/** Fewer bytes than this are copied: pages that hold little are not worth keeping. */
const WORTH_MOVING = 4 * PAGE;

/**
 * When a byte last received over any shard, as performance.now() has it; 0 before the first. Until then the sender may wait for
 * CRIU for as long as it takes, and later a shard may have none for long while others are faster.
 */
export interface LastActivity {
	last: number;
}

export class ShardReader {
	readonly name: string;
	/** Bytes that received, markers and payload. */
	bytes = 0;
	/** When the last byte received, as performance.now() has it. */
	last = 0;
	readonly #buffer = Buffer.allocUnsafeSlow(READ_BUFFER + PREFIX_BYTES + MAX_MESSAGE_BYTES);
	#from = 0;
	#to = 0;
	#ended = false;
	/** The last payload was large: the next one probably is. */
	#large = false;
	/** Bytes of the last marker before a payload: the next one has as many, or one more. */
	#expectedMarkerBytes = PREFIX_BYTES + MIN_MARKER;
	readonly #fd: number;
	/** Of a shard that is a pipe: the pipe of our own. */
	readonly #staging: Staging | undefined;

	/** `activity` is shared by all shards of a stream. */
	constructor(
		readonly shard: Shard,
		readonly signal: AbortSignal,
		readonly activity: LastActivity = { last: 0 },
	) {
		this.name = shard.name;
		this.#fd = shard.fd;
		if (fcntl(shard.fd, F_GETPIPE_SZ, 0) > 0)
			this.#staging = new Staging(shard.fd, enlargePipe(shard.fd, SHARD_PIPE));
	}

	/** The next marker if it is there; 'end' at the end of input; undefined: {@link more} has to be waited for. */
	tryMarker(): Marker | 'end' | undefined {
		for (;;) {
			const marker = this.#parse();
			if (marker) return marker;
			if (this.#fill()) continue;
			if (!this.#ended) return undefined;
			if (this.#from === this.#to) return 'end';
			throw new Error(`${this.name} ends in the middle of a marker: its sender died, or the stream was cut`);
		}
	}

	/** Resolves when there may be more to read. */
	async more(): Promise<void> {
		const staging = this.#staging;
		if (!staging) return this.#readable();
		for (;;) {
			// The pipes are closed once the run has failed.
			this.signal.throwIfAborted();
			const received = staging.fill();
			if (received === -EAGAIN) await this.#readable();
			else if (received >= 0) {
				this.#count(received);
				return;
			} else if (received !== -EINTR) throw this.#error(received);
		}
	}

	/** Up to `bytes` of payload that were read already; they are gone with the next call here. */
	takeBuffered(bytes: number): Buffer {
		const to = Math.min(this.#to, this.#from + bytes);
		const taken = this.#buffer.subarray(this.#from, to);
		this.#from = to;
		return taken;
	}

	/** Reads up to `bytes` of payload into memory that the next call reuses; undefined: {@link more} has to be waited for. */
	tryRead(bytes: number): Buffer | undefined {
		const buffered = this.takeBuffered(bytes);
		if (buffered.length) return buffered;
		// Beyond the payload of a small file there are more records: they come with it.
		if (bytes < READ_BUFFER && !this.#large) {
			if (this.#fill()) return this.takeBuffered(bytes);
		} else {
			const got = this.#read(0, Math.min(bytes, READ_BUFFER));
			if (got) return this.#buffer.subarray(0, got);
		}
		if (this.#ended) throw this.#cut();
		return undefined;
	}

	/** Whether {@link moveTo} has as many as {@link WORTH_MOVING} of the next `bytes` of payload. */
	canMove(bytes: number): boolean {
		return this.#from === this.#to && Math.min(this.#staging?.bytes ?? 0, bytes) >= WORTH_MOVING;
	}

	/** Lets `writer` move up to `bytes` of payload by reference, as far as they are here and worth it: how many. */
	moveTo(writer: FileWriter, bytes: number): number {
		return this.canMove(bytes) ? this.#staging!.moveTo(writer, bytes, WORTH_MOVING) : 0;
	}

	close(): void {
		this.#staging?.close();
	}

	#parse(): Marker | undefined {
		const have = this.#to - this.#from;
		if (have < PREFIX_BYTES) return undefined;
		const length = this.#buffer.readUInt32LE(this.#from);
		if (length > MAX_MESSAGE_BYTES) {
			throw new Error(
				`${this.name} carries a marker of ${length} bytes, more than the maximum of ${MAX_MESSAGE_BYTES}: ` +
					'it is no image stream, or it is damaged, compressed or encrypted',
			);
		}
		if (have < PREFIX_BYTES + length) return undefined;
		const start = this.#from + PREFIX_BYTES;
		this.#from = start + length;
		const marker = decodeMarker(this.#buffer.subarray(start, this.#from), this.name);
		if (marker.kind === 'data') {
			this.#large = this.#staging !== undefined && marker.bytes >= LARGE;
			this.#expectedMarkerBytes = PREFIX_BYTES + length;
		}
		return marker;
	}

	/** Reads what is there and useful; false: nothing is. */
	#fill(): boolean {
		if (this.#from === this.#to) this.#from = this.#to = 0;
		else if (this.#buffer.length - this.#to < READ_BUFFER) {
			this.#buffer.copyWithin(0, this.#from, this.#to);
			this.#to -= this.#from;
			this.#from = 0;
		}
		const got = this.#read(this.#to, this.#wanted());
		this.#to += got;
		return got > 0;
	}

	/** Where payloads are large: no more than the next marker, so that their pages stay whole. */
	#wanted(): number {
		if (!this.#large) return READ_BUFFER;
		const have = this.#to - this.#from;
		if (have < PREFIX_BYTES) return Math.max(PREFIX_BYTES, this.#expectedMarkerBytes) - have;
		return PREFIX_BYTES + this.#buffer.readUInt32LE(this.#from) - have;
	}

	/** Bytes read into the buffer at `at`; 0: nothing is there, or the end. */
	#read(at: number, bytes: number): number {
		const staging = this.#staging;
		const max = staging ? Math.min(bytes, staging.bytes) : bytes;
		if (staging && max === 0) {
			this.#ended = staging.ended;
			return 0;
		}
		for (;;) {
			const from = staging ? staging.readEnd : this.#fd;
			const got = read(from, at ? this.#buffer.subarray(at) : this.#buffer, max);
			if (got === -EINTR) continue;
			if (got === -EAGAIN) return 0;
			if (got < 0) throw this.#error(got);
			if (staging) staging.bytes -= got;
			else if (got === 0) this.#ended = true;
			else this.#count(got);
			return got;
		}
	}

	#count(bytes: number): void {
		if (bytes) this.last = this.activity.last = performance.now();
		this.bytes += bytes;
	}

	/** Throws once nothing has come from any shard for stallMillis, all of which were spent waiting. */
	async #readable(): Promise<void> {
		const { signal, shard, activity } = this;
		const silence = new StallDetector(shard.stallMillis);
		while (!(await waitFor(this.#fd, EPOLLIN, { signal, deadline: silence.deadline }))) {
			silence.progress(activity.last || performance.now());
			if (silence.stalled) throw silent(shard);
		}
	}

	#cut(): Error {
		return new Error(`${this.name} ends in the middle of a file: its sender died, or the stream was cut`);
	}

	#error(result: number): Error {
		return callError(`cannot read the image from ${this.name}`, result);
	}
}

function silent({ name, stallMillis }: Shard): Error {
	return new StreamError(
		'STALLED',
		`the sender of ${name} has sent nothing for ${stallMillis / 1000} s: look whether it still runs`,
	);
}

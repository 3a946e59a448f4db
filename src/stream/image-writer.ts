/**
 * Writes an image as a stream: each chunk goes to a shard that has room for it (balancer.ts), behind a marker with its place
 * in the order of all shards. A chunk is one call here.
 *
 * A shard whose chunk is interrupted is not given back: what would follow there would be read as the rest of the chunk.
 */
import { PAGE } from '../libc/constants.js';
import type { ShardBalancer, ShardLease } from './balancer.js';
import { encodeMarker, type MarkerBody } from './marker.js';
import { SMALL } from './shard-writer.js';

const NOTHING = Buffer.alloc(0);

export class ImageWriter {
	#seq = 0;
	/** The file that the last marker was about. */
	#current: string | undefined;

	constructor(readonly shards: ShardBalancer) {}

	/**
	 * Writes `data` (SMALL of shard-writer.ts at most) of the file `name`, and with `end` the end of the file. `data` is copied by
	 * the time that this resolves, or returns undefined.
	 */
	put(name: string, data: Buffer, end: boolean): Promise<void> | undefined {
		const lease = this.shards.tryTake(data.length);
		if (!lease) return this.shards.take(data.length).then((later) => this.#put(later, name, data, end));
		this.#put(lease, name, data, end);
		return undefined;
	}

	/** Writes the end of the file `name`. */
	end(name: string): Promise<void> | undefined {
		return this.put(name, NOTHING, true);
	}

	/** Writes a chunk of the file `name` from memory, which is left alone until this resolves. */
	async write(name: string, chunk: Buffer): Promise<void> {
		for (let at = 0; at < chunk.length; ) {
			const left = chunk.length - at;
			const lease = await this.#takeFor(left);
			const part = chunk.subarray(at, at + lease.room);
			this.#append(lease, name, { kind: 'data', bytes: part.length });
			await lease.writer.write(part);
			this.shards.release(lease);
			at += part.length;
		}
	}

	/**
	 * Moves a chunk of the file `name` by reference out of the pipe `from`, in which `bytes` wait: all of them, or whole pages
	 * as far as a shard has room.
	 */
	async move(name: string, from: number, bytes: number): Promise<void> {
		const lease = await this.#takeFor(bytes);
		const { room } = lease;
		const moved = bytes > room ? Math.max(PAGE, room - (room % PAGE)) : bytes;
		this.#append(lease, name, { kind: 'data', bytes: moved });
		await lease.writer.move(from, moved);
		this.shards.release(lease);
	}

	/**
	 * Ends the image, and resolves when the kernel has everything. The end follows once all that is before it was read: its
	 * reader may start the application, so it must not wait in a pipe for a capture that fails after all.
	 */
	async endImage(): Promise<void> {
		const lease = this.shards.tryTake(1) ?? (await this.shards.take(1));
		await this.shards.drained();
		lease.writer.append(encodeMarker({ seq: this.#seq++, kind: 'image-end' }));
		await lease.writer.flush();
		this.shards.release(lease);
	}

	/** A shard for `bytes` that are not gathered: one where the last small record waits may have no room for them. */
	async #takeFor(bytes: number): Promise<ShardLease> {
		const wanted = Math.max(bytes, SMALL);
		return this.shards.tryTake(wanted) ?? this.shards.take(wanted);
	}

	#put(lease: ShardLease, name: string, data: Buffer, end: boolean): void {
		if (data.length) {
			this.#append(lease, name, { kind: 'data', bytes: data.length });
			lease.writer.append(data);
		}
		if (end) {
			this.#append(lease, name, { kind: 'file-end' });
			this.#current = undefined;
		}
		this.shards.release(lease);
	}

	#append({ writer }: ShardLease, name: string, body: MarkerBody): void {
		if (this.#current !== name) {
			writer.append(encodeMarker({ seq: this.#seq++, kind: 'file', name }));
			this.#current = name;
		}
		writer.append(encodeMarker({ seq: this.#seq++, ...body }));
	}
}

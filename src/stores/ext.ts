/** A file of the image that is written to a descriptor of the user's while it is received (--ext-file-fds); nothing is held. */
import { fstatSync, openSync } from 'node:fs';
import { fcntl, splice, write } from '../libc/calls.js';
import { F_GETFL, O_APPEND, SPLICE_F_MOVE, SPLICE_F_NONBLOCK } from '../libc/constants.js';
import { callError, EAGAIN, EINTR, EPIPE } from '../libc/errno.js';
import { setNonBlocking } from '../libc/pipes.js';
import { EPOLLOUT, poller } from '../libc/poller.js';
import { waitFor } from '../libc/wait.js';
import type { ExtFile } from '../stream/ext-file.js';
import type { FileWriter, Store } from '../stream/store.js';

export class ExtWriter implements FileWriter {
	readonly #splices: boolean;
	/** The descriptor is closed. */
	ended = false;

	/** Owns `fd`, which is non-blocking or a regular file; its reader sees the end when the file ends. */
	constructor(
		readonly name: string,
		readonly fd: number,
		readonly signal: AbortSignal,
	) {
		this.#splices = takesSplice(fd);
	}

	expect(): boolean {
		return this.#splices;
	}

	append(bytes: Buffer): Promise<void> | undefined {
		const taken = this.#write(bytes);
		return taken < bytes.length ? this.#appendRest(Buffer.from(bytes.subarray(taken))) : undefined;
	}

	move(from: number, bytes: number): number {
		const moved = splice(from, null, this.fd, null, bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (moved > 0) return moved;
		if (moved === -EAGAIN || moved === -EINTR) return -EAGAIN;
		throw this.#error(moved);
	}

	async whenRoom(): Promise<void> {
		await waitFor(this.fd, EPOLLOUT, { signal: this.signal });
	}

	end(): void {
		this.ended = true;
		poller.close(this.fd);
		// Other code, in this process too, takes these numbers for its stdin and stdout.
		if (this.fd <= 2) openSync('/dev/null', 'r+');
	}

	async #appendRest(bytes: Buffer): Promise<void> {
		for (let at = 0; at < bytes.length; ) {
			await this.whenRoom();
			at += this.#write(bytes.subarray(at));
		}
	}

	#write(bytes: Buffer): number {
		for (;;) {
			const written = write(this.fd, bytes, bytes.length);
			if (written >= 0) return written;
			if (written === -EAGAIN) return 0;
			if (written !== -EINTR) throw this.#error(written);
		}
	}

	#error(result: number): Error {
		const gone = result === -EPIPE ? ': its reader went away before the end' : '';
		return callError(`cannot write ${this.name} to fd ${this.fd}${gone}`, result);
	}
}

/** The kernel refuses to splice into what was opened for appending, and into most devices: there bytes are copied. */
function takesSplice(fd: number): boolean {
	const stat = fstatSync(fd);
	if (stat.isFIFO() || stat.isSocket()) return true;
	return stat.isFile() && !(fcntl(fd, F_GETFL, 0) & O_APPEND);
}

/** `store`, but the files named in `extFiles` go to their descriptors, which it owns from now on. */
export function withExtFiles(store: Store, extFiles: readonly ExtFile[], signal: AbortSignal) {
	const names = new Set(extFiles.map(({ name }) => name));
	const open = new Set<ExtWriter>();
	const expected = new Map(extFiles.map(({ name, fd }) => [name, fd]));
	return {
		store: {
			image: store.image,
			create(name: string) {
				const fd = expected.get(name);
				if (fd === undefined) return store.create(name);
				expected.delete(name);
				setNonBlocking(fd);
				const writer = new ExtWriter(name, fd, signal);
				open.add(writer);
				return writer;
			},
		},
		/** As {@link Image.patch} of the store; throws where the file has left. */
		patch(name: string, offset: number, bytes: Uint8Array): void {
			if (names.has(name))
				throw new Error(
					`${name} is corrected at the end of the stream, and has left through its descriptor by then`,
				);
			store.image.patch(name, offset, bytes);
		},
		/**
		 * Ends files that the image did not end: their readers see the end of input. To be called when nothing is written any
		 * more.
		 */
		close(): void {
			for (const writer of open) if (!writer.ended) writer.end();
			for (const fd of expected.values()) poller.close(fd);
			expected.clear();
		},
		/** Throws where the image has no file of one of the names. */
		checkAllReceived(): void {
			const [name] = expected.keys();
			if (name !== undefined)
				throw new Error(`the image has no file ${name}, for which a descriptor was given`);
		},
	};
}

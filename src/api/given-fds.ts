/**
 * The descriptors that a program gives to a call. The modules of a command close those that they use; the rest would be
 * closed at the end of a process, and within a program the call has to close them.
 */
import { close } from '../libc/calls.js';
import type { Options } from '../options/resolve.js';

export class GivenFds {
	readonly #stream: number[];
	#criu: number | undefined;

	constructor({ command, shardFds = [], extFiles, criuFd }: Options) {
		// A capture reads copies of the files; the program stays the owner of its descriptors.
		this.#stream = command === 'capture' ? [...shardFds] : [...shardFds, ...extFiles.map(({ fd }) => fd)];
		this.#criu = criuFd;
	}

	/** The stream is being opened: its shards and files have another owner from now on. */
	streamTaken(): void {
		this.#stream.length = 0;
	}

	/** The socket for CRIU has another owner from now on. */
	criuTaken(): void {
		this.#criu = undefined;
	}

	/** Closes the descriptors that were not taken. */
	close(): void {
		for (const fd of this.#stream.splice(0)) close(fd);
		if (this.#criu !== undefined) close(this.#criu);
		this.#criu = undefined;
	}
}

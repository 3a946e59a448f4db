/**
 * The descriptors that a program gives to a call. The parts of a command close what they use; a process of its own would close
 * the rest by ending, and here that falls to the call.
 */
import { close } from '../libc/calls.js';
import type { Options } from '../options/resolve.js';

export class GivenFds {
	readonly #stream: number[];
	#criu: number | undefined;

	constructor({ command, shardFds = [], extFiles, criuFd }: Options) {
		// A capture reads copies of the files, which stay the program's.
		this.#stream = command === 'capture' ? [...shardFds] : [...shardFds, ...extFiles.map(({ fd }) => fd)];
		this.#criu = criuFd;
	}

	/** The stream is being opened: its shards and files have an owner that closes them. */
	streamTaken(): void {
		this.#stream.length = 0;
	}

	/** The socket for CRIU has an owner that closes it. */
	criuTaken(): void {
		this.#criu = undefined;
	}

	/** Closes what was not taken. */
	close(): void {
		for (const fd of this.#stream.splice(0)) close(fd);
		if (this.#criu !== undefined) close(this.#criu);
		this.#criu = undefined;
	}
}

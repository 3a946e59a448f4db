/**
 * Memory that small files share. A buffer for each takes more than most of them hold: CRIU writes some files of a few hundred
 * bytes for each process, and for each of its descriptors.
 */
import { BufferFile } from './buffer-file.js';

/** Large enough that what does not fit at the end of a slab is little, whatever the sizes of files. */
const SLAB = 1 << 20;

export class Slabs {
	#slab = Buffer.alloc(0);
	#used = 0;

	/** The file `name` with a copy of `parts`, which are `size` bytes together. */
	file(name: string, parts: readonly Buffer[], size: number): BufferFile {
		if (this.#used + size > this.#slab.length) {
			// Pages that nothing was written to take no memory.
			this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB, size));
			this.#used = 0;
		}
		const from = this.#used;
		for (const part of parts) this.#used += part.copy(this.#slab, this.#used);
		return new BufferFile(name, this.#slab, from, size);
	}
}

/**
 * The rules of a stream: what a marker means depends on those before it, over all shards. Only open files are kept here: the store
 * has the names of the others already, and there may be a million of them.
 */
import { quoteName } from '../stream/image-name.js';
import type { Marker } from '../stream/marker.js';

/** What a reader does next: `bytes` of `file` follow, `file`, which is called `name`, is complete, or the image is. */
export type Step<F> =
	| { kind: 'data'; file: F; bytes: number }
	| { kind: 'file-end'; name: string; file: F }
	| { kind: 'image-end' };

/** What the sequencer asks about files. */
export interface Files<F> {
	/** Begins the file `name`. */
	begin(name: string): F;
	/** Whether the end of the file `name` was taken already. */
	hasEnded(name: string): boolean;
}

/** Follows the markers of one stream in order of their sequence numbers. `F`: what the reader has for an open file. */
export class MarkerSequencer<F> {
	/** Of the marker that must come next. */
	next = 0;
	/** The image is complete. */
	done = false;
	/** The file that markers are about. */
	#current: { name: string; file: F } | undefined;
	/**
	 * Other files that have begun and did not end. Most files end before the next one begins, and are never in here: a Map that
	 * each of them passed through would replace its table again and again. A replaced table that V8 has moved to its old
	 * generation keeps all its successors, and what was in them, until the next full collection.
	 */
	readonly #others = new Map<string, F>();

	constructor(readonly files: Files<F>) {}

	/** Whether `marker` is the next one. Throws on one that was seen already or comes after the end. */
	isDue(marker: Marker): boolean {
		if (this.done)
			throw new Error(`marker ${marker.seq} comes after the end of the image: the stream is damaged`);
		if (marker.seq < this.next) {
			throw new Error(
				`marker ${marker.seq} came twice: the stream is damaged, or a shard was connected twice`,
			);
		}
		return marker.seq === this.next;
	}

	/** Takes the marker that is due; undefined for one that only sets the current file. Throws where it breaks the rules. */
	take(marker: Marker): Step<F> | undefined {
		this.next++;
		const current = this.#current;
		switch (marker.kind) {
			case 'file':
				this.#select(marker.name);
				return undefined;
			case 'data':
				if (!current) throw new Error(`marker ${marker.seq} has data without a file: the stream is damaged`);
				return { kind: 'data', file: current.file, bytes: marker.bytes };
			case 'file-end':
				if (!current) throw new Error(`marker ${marker.seq} ends no file: the stream is damaged`);
				this.#current = undefined;
				return { kind: 'file-end', ...current };
			case 'image-end':
				this.#checkAllEnded();
				this.done = true;
				return { kind: 'image-end' };
		}
	}

	/** The markers that follow are about the file `name`. */
	#select(name: string): void {
		const current = this.#current;
		if (current?.name === name) return;
		if (this.files.hasEnded(name))
			throw new Error(`file ${quoteName(name)} has data after its end: the stream is damaged`);
		if (current) this.#others.set(current.name, current.file);
		this.#current = { name, file: this.#others.get(name) ?? this.files.begin(name) };
		this.#others.delete(name);
	}

	#checkAllEnded(): void {
		const open = [...this.#others.keys()];
		if (this.#current) open.push(this.#current.name);
		if (!open.length) return;
		const names = open.slice(0, 3).map(quoteName).join(', ');
		throw new Error(`the image ends, but ${names} did not: the stream is damaged`);
	}
}

/**
 * The rules of a stream: what a marker means depends on those before it, over all shards. Pure: values in, values out.
 */
import { quoteName } from '../stream/image-name.js';
import type { Marker } from '../stream/marker.js';

/** What a reader does next: `bytes` of `name` follow, `name` is complete, or the image is. */
export type Step =
	| { kind: 'data'; name: string; bytes: number }
	| { kind: 'file-end'; name: string }
	| { kind: 'image-end' };

/** Follows the markers of one stream in order of their sequence numbers. */
export class MarkerSequencer {
	/** Of the marker that must come next. */
	next = 0;
	/** The image is complete. */
	done = false;
	#current: string | undefined;
	/** All names that came, and whether each is still open. */
	readonly #files = new Map<string, boolean>();
	#open = 0;

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
	take(marker: Marker): Step | undefined {
		this.next++;
		switch (marker.kind) {
			case 'file': {
				const open = this.#files.get(marker.name);
				if (open === false) {
					throw new Error(`file ${quoteName(marker.name)} has data after its end: the stream is damaged`);
				}
				if (open === undefined) {
					this.#files.set(marker.name, true);
					this.#open++;
				}
				this.#current = marker.name;
				return undefined;
			}
			case 'data':
				if (this.#current === undefined) {
					throw new Error(`marker ${marker.seq} has data without a file: the stream is damaged`);
				}
				return { kind: 'data', name: this.#current, bytes: marker.bytes };
			case 'file-end': {
				const name = this.#current;
				if (name === undefined) throw new Error(`marker ${marker.seq} ends no file: the stream is damaged`);
				this.#current = undefined;
				this.#files.set(name, false);
				this.#open--;
				return { kind: 'file-end', name };
			}
			case 'image-end':
				if (this.#open) {
					const open = [...this.#files.keys()].filter((name) => this.#files.get(name));
					const names = open.slice(0, 3).map(quoteName).join(', ');
					throw new Error(`the image ends, but ${names} did not: the stream is damaged`);
				}
				this.done = true;
				return { kind: 'image-end' };
		}
	}
}

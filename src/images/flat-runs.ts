/**
 * Runs of pages that are in several pages images, in columns of numbers: a process of a few GB may have a million of them, and as
 * objects they would need as much memory as a small image, and most of the time.
 */
import { PARENT, type PageRun, PRESENT } from './pagemap.js';

/** A run, and what has its pages. Of a PARENT run it is the dump that leaves them to a dump before, which lacks them. */
export interface FlatRun<S> extends PageRun {
	readonly source: S;
}

/** Numbers of a run: address, bytes, offset, flags, index of the source. */
const STRIDE = 5;

/** In ascending order of addresses. */
export class FlatRuns<S> implements Iterable<FlatRun<S>> {
	/** By the index that runs have. */
	readonly sources: S[];
	#numbers: Float64Array;
	#length = 0;
	/** Of the runs that are not to be cut, by their index. */
	readonly #records = new Map<number, Uint8Array>();

	/**
	 * @param sources those that runs are going to have, too
	 * @param expected runs that there is room for; more make it grow
	 */
	constructor(sources: readonly S[] = [], expected = 0) {
		this.sources = [...sources];
		this.#numbers = new Float64Array((expected + 1) * STRIDE);
	}

	get length(): number {
		return this.#length;
	}

	/** Returns the index of `source` from now on. */
	addSource(source: S): number {
		return this.sources.push(source) - 1;
	}

	address(i: number): number {
		return this.#numbers[i * STRIDE]!;
	}

	bytes(i: number): number {
		return this.#numbers[i * STRIDE + 1]!;
	}

	offset(i: number): number {
		return this.#numbers[i * STRIDE + 2]!;
	}

	flags(i: number): number {
		return this.#numbers[i * STRIDE + 3]!;
	}

	sourceIndex(i: number): number {
		return this.#numbers[i * STRIDE + 4]!;
	}

	source(i: number): S {
		return this.sources[this.sourceIndex(i)]!;
	}

	record(i: number): Uint8Array | undefined {
		return this.#records.get(i);
	}

	/** The first address behind the run. */
	end(i: number): number {
		return this.address(i) + this.bytes(i);
	}

	/** Appends a run, as a part of the last one where both are one piece of memory and of a pages image. */
	append(
		address: number,
		bytes: number,
		flags: number,
		offset: number,
		source: number,
		record?: Uint8Array,
	): void {
		if (bytes === 0) return;
		const last = this.#length - 1;
		if (!record && last >= 0 && this.#joins(last, address, flags, offset, source)) {
			this.#numbers[last * STRIDE + 1]! += bytes;
			return;
		}
		const at = this.#length * STRIDE;
		if (at === this.#numbers.length) this.#grow();
		this.#numbers[at] = address;
		this.#numbers[at + 1] = bytes;
		this.#numbers[at + 2] = offset;
		this.#numbers[at + 3] = flags;
		this.#numbers[at + 4] = source;
		if (record) this.#records.set(this.#length, record);
		this.#length++;
	}

	/** The first run that has its pages in no dump; undefined: all are there. */
	firstMissing(): FlatRun<S> | undefined {
		for (let i = 0; i < this.#length; i++) if (this.flags(i) & PARENT) return this.#run(i);
		return undefined;
	}

	*[Symbol.iterator](): Generator<FlatRun<S>> {
		for (let i = 0; i < this.#length; i++) yield this.#run(i);
	}

	#run(i: number): FlatRun<S> {
		const record = this.#records.get(i);
		return {
			address: this.address(i),
			bytes: this.bytes(i),
			flags: this.flags(i),
			offset: this.offset(i),
			source: this.source(i),
			...(record && { record }),
		};
	}

	#joins(last: number, address: number, flags: number, offset: number, source: number): boolean {
		if (this.end(last) !== address || this.flags(last) !== flags) return false;
		if (this.sourceIndex(last) !== source || this.#records.has(last)) return false;
		return !(flags & PRESENT) || this.offset(last) + this.bytes(last) === offset;
	}

	#grow(): void {
		const larger = new Float64Array(2 * this.#numbers.length);
		larger.set(this.#numbers);
		this.#numbers = larger;
	}
}

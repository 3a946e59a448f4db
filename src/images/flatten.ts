/**
 * Flattens a chain of dumps: each run of pages that an incremental dump leaves to the one before (PARENT) is replaced by what
 * that one has there. The oldest comes first, so that each step needs only the flat runs of the step before. What no step has
 * stays a PARENT run: a later dump may not need it any more, and only the last one tells.
 *
 * Pages in no entry of the newer dump are holes, whatever an older one has there: they were unmapped, or are zeros.
 */
import { PAGE } from '../libc/constants.js';
import { PARENT, type PageRun, PRESENT } from './pagemap.js';

/** A run whose pages are in one of several pages images. `S` is the dump that has them, or, of a PARENT run, that wants them. */
export interface FlatRun<S> extends PageRun {
	readonly source: S;
}

/** Bytes of one pages image. */
export interface Extent<S> {
	source: S;
	offset: number;
	bytes: number;
}

/**
 * The runs of a dump above those of the flattened dumps before it.
 * @param own in ascending order of addresses
 * @param below likewise; empty where there is no dump before
 * @throws where a run that is not to be cut would be
 */
export function overlay<S>(own: readonly PageRun[], source: S, below: readonly FlatRun<S>[]): FlatRun<S>[] {
	const flat: FlatRun<S>[] = [];
	let next = 0;
	for (const run of own) {
		if (!(run.flags & PARENT)) {
			append(flat, { ...run, source });
			continue;
		}
		const end = endOf(run);
		for (let address = run.address; address < end; ) {
			while (next < below.length && endOf(below[next]!) <= address) next++;
			const other = below[next];
			const isThere = other !== undefined && other.address <= address;
			const to = Math.min(end, isThere ? endOf(other) : (other?.address ?? end));
			append(flat, isThere ? piece(other, address, to, source) : missing(source, address, to));
			address = to;
		}
	}
	return flat;
}

/** The first run that has its pages in no dump; undefined: all are there. */
export function firstMissing<S>(flat: readonly FlatRun<S>[]): FlatRun<S> | undefined {
	return flat.find(({ flags }) => flags & PARENT);
}

/** Where the bytes of these runs are, in their order; what is adjacent in a pages image is one extent. */
export function* extentsOf<S>(flat: Iterable<FlatRun<S>>): Generator<Extent<S>> {
	let last: Extent<S> | undefined;
	for (const { flags, source, offset, bytes } of flat) {
		if (!(flags & PRESENT)) continue;
		if (last?.source === source && last.offset + last.bytes === offset) {
			last.bytes += bytes;
			continue;
		}
		if (last) yield last;
		last = { source, offset, bytes };
	}
	if (last) yield last;
}

/** How an address is written in messages. */
export function hex(address: number): string {
	return `0x${address.toString(16)}`;
}

function endOf({ address, bytes }: PageRun): number {
	return address + bytes;
}

function missing<S>(source: S, address: number, to: number): FlatRun<S> {
	return { address, bytes: to - address, flags: PARENT, offset: 0, source };
}

/** The part of `run` from `address` to `to`, which the dump `wants` leaves to the ones before. */
function piece<S>(run: FlatRun<S>, address: number, to: number, wants: S): FlatRun<S> {
	const { flags, offset, source, record } = run;
	if (!(flags & PRESENT)) return missing(flags & PARENT ? source : wants, address, to);
	const bytes = to - address;
	if (record && bytes !== run.bytes)
		throw new Error(
			`the entry at ${hex(run.address)}, of which only ${bytes / PAGE} pages are needed, has fields that are unknown here`,
		);
	return {
		address,
		bytes,
		flags,
		offset: offset + (address - run.address),
		source,
		...(record && { record }),
	};
}

/** Appends `run`, as a part of the last one where both are one piece of memory and of a pages image. */
function append<S>(flat: FlatRun<S>[], run: FlatRun<S>): void {
	if (run.bytes === 0) return;
	const last = flat.at(-1);
	const joins =
		last &&
		endOf(last) === run.address &&
		last.flags === run.flags &&
		last.source === run.source &&
		!last.record &&
		!run.record &&
		(!(run.flags & PRESENT) || last.offset + last.bytes === run.offset);
	if (joins) flat[flat.length - 1] = { ...last, bytes: last.bytes + run.bytes };
	else flat.push(run);
}

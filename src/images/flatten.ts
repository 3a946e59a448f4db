/**
 * Flattens a chain of dumps: each run of pages that an incremental dump leaves to the one before (PARENT) is replaced by what
 * that one has there. The oldest comes first, so that each step needs only the flat runs of the step before. What no step has
 * stays a PARENT run: a later dump may not need it any more, and only the last one tells.
 *
 * Pages in no entry of the newer dump are holes, whatever an older one has there: they were unmapped, or are zeros.
 */
import { PAGE } from '../libc/constants.js';
import { FlatRuns } from './flat-runs.js';
import { PARENT, type PageRun, PRESENT } from './pagemap.js';

/** Bytes of one pages image. */
export interface Extent<S> {
	source: S;
	offset: number;
	bytes: number;
}

/**
 * The runs of a dump above those of the flattened dumps before it.
 * @param own in ascending order of addresses
 * @param source what has the pages of `own`
 * @param below undefined where there is no dump before
 * @throws where a run that is not to be cut would be
 */
export function overlay<S>(own: readonly PageRun[], source: S, below?: FlatRuns<S>): FlatRuns<S> {
	const flat = new FlatRuns<S>(below?.sources, own.length + (below?.length ?? 0));
	const index = flat.addSource(source);
	let next = 0;
	for (const { address: start, bytes, flags, offset, record } of own) {
		if (!(flags & PARENT)) {
			flat.append(start, bytes, flags, offset, index, record);
			continue;
		}
		const end = start + bytes;
		for (let address = start; address < end; ) {
			while (below && next < below.length && below.end(next) <= address) next++;
			const other = below && next < below.length ? below.address(next) : Number.POSITIVE_INFINITY;
			const isThere = other <= address;
			const to = Math.min(end, isThere ? below!.end(next) : other);
			if (isThere) take(below!, next, address, to, flat, index);
			else flat.append(address, to - address, PARENT, 0, index);
			address = to;
		}
	}
	return flat;
}

/** Where the bytes of these runs are, in their order; what is adjacent in a pages image is one extent. */
export function* extentsOf<S>(flat: FlatRuns<S>): Generator<Extent<S>> {
	let last: Extent<S> | undefined;
	for (let i = 0; i < flat.length; i++) {
		if (!(flat.flags(i) & PRESENT)) continue;
		const [source, offset, bytes] = [flat.source(i), flat.offset(i), flat.bytes(i)];
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

/** Appends to `flat` what run `i` of `below` has from `address` to `to`; `wants` is the source of the newer dump. */
function take<S>(
	below: FlatRuns<S>,
	i: number,
	address: number,
	to: number,
	flat: FlatRuns<S>,
	wants: number,
): void {
	const flags = below.flags(i);
	const bytes = to - address;
	if (!(flags & PRESENT)) {
		// The oldest dump that leaves the pages to one before is the one that a message is about.
		flat.append(address, bytes, PARENT, 0, flags & PARENT ? below.sourceIndex(i) : wants);
		return;
	}
	const record = below.record(i);
	if (record && bytes !== below.bytes(i))
		throw new Error(
			`the entry at ${hex(below.address(i))}, of which only ${bytes / PAGE} pages are needed, has fields that are unknown here`,
		);
	const offset = below.offset(i) + (address - below.address(i));
	flat.append(address, bytes, flags, offset, below.sourceIndex(i), record);
}

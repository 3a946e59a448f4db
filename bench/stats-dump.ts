/** CRIU's own statistics of a dump. */
import protobuf from 'protobufjs/minimal.js';

/** The magic of stats-dump: that of service files, and that of statistics. */
const STATS_MAGICS = [0x55105940, 0x57093306];

/** Microseconds from CRIU's stats-dump: {1: dump {2: frozen_time, 4: memwrite_time}}. Throws on another file. */
export function readStats(file: Uint8Array): { frozen: number; memoryWrite: number } {
	const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
	if (STATS_MAGICS.some((magic, i) => view.getUint32(4 * i, true) !== magic))
		throw new Error('this is no stats-dump');
	const outer = protobuf.Reader.create(file.subarray(12, 12 + view.getUint32(8, true)));
	const times = new Map<number, number>();
	while (outer.pos < outer.len) {
		const tag = outer.uint32();
		if (tag >>> 3 !== 1) {
			outer.skipType(tag & 7);
			continue;
		}
		const inner = protobuf.Reader.create(outer.bytes());
		while (inner.pos < inner.len) {
			const field = inner.uint32();
			if ((field & 7) === 0) times.set(field >>> 3, Number(inner.uint64()));
			else inner.skipType(field & 7);
		}
	}
	return { frozen: times.get(2)!, memoryWrite: times.get(4)! };
}

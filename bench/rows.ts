/** What a bench consists of: rows, each with participants that run one after the other within a round. */
import type { Run } from './load.js';
import type { Place } from './place.js';
import { missing, type Reader, readers, type Sender, senders } from './readers.js';

export const measures = [
	'capture',
	'copied',
	'balance',
	'replay',
	'extract',
	'small',
	'memory',
	'start',
	'frozen',
	'running',
] as const;
export type Measure = (typeof measures)[number];

/**
 * - limit: the same bytes without a streamer; node: `node -e 0`
 * - copied: ours with --zero-copy never; ours is with always, as the stand-in for CRIU is none that auto would trust
 * - script, bare: ours with a real CRIU, with and without the action script; files: CRIU's own files in memory
 */
export type Participant = 'limit' | 'ours' | 'original' | 'copied' | 'node' | 'script' | 'bare' | 'files';

/** What a run measured. */
export interface Values extends Partial<Run> {
	/** The smallest part of the stream that a shard got. */
	share?: number;
	/** Seconds, by CRIU's own statistics. */
	frozen?: number;
}

export type Quantity = Exclude<keyof Values, 'shards'>;

export interface Row {
	measure: Measure;
	/** The reader or the sender, or what else tells the rows of a measure apart. */
	name: string;
	bytes: number;
	files: number;
	/** As often as this, if not as often as everything else. */
	rounds?: number;
	runs: Partial<Record<Participant, () => Values | Promise<Values>>>;
}

export interface Plan {
	/** Bytes of an image. */
	sizes: number[];
	/** Small files of an image, and in the measure of the memory for each. */
	files: number;
	manyFiles: number;
	rounds: number;
	/** Rounds of the balance of shards. */
	balanceRounds: number;
	only: string[];
	/** Readers and senders; empty means all. */
	through: string[];
	/** Another criu-image-streamer to compare with ours, and a CRIU. */
	peer: string | undefined;
	criu: string | undefined;
	place: Place;
	/** What is left out, and why. */
	leftOut: Set<string>;
}

function usable<T extends Reader | Sender>(plan: Plan, table: T[]): T[] {
	return table.filter((way) => {
		if (plan.through.length && !plan.through.includes(way.name)) return false;
		const absent = missing(way);
		if (way.needs?.includes('sshd') && !plan.place.SSH) absent.push('sshd that starts');
		if (absent.length) plan.leftOut.add(`${way.name} (there is no ${absent.join(', no ')})`);
		return absent.length === 0;
	});
}

export const usableReaders = (plan: Plan) => usable(plan, readers);
export const usableSenders = (plan: Plan) => usable(plan, senders);

/** Time for the start of a streamer and of most readers, before the first byte. */
export const SETTLE_MILLIS = 400;

/** The memory that a run may need, and some reserve. */
export const warmth = (bytes: number) => Math.round(bytes * 1.2 + 2 ** 26);

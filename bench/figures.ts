/** From single runs to figures: medians over rounds, slopes over sizes, and ratios within rounds. */
import type { Run } from './load.js';
import { floors, type Group, type Participant } from './trials.js';

export interface Sample {
	measure: Group['measure'];
	bytes: number;
	small: number;
	shards: number;
	participant: Participant;
	round: number;
	run: Run;
}

/** A median with the smallest and the largest of `count` values. */
export interface Spread {
	count: number;
	median: number;
	min: number;
	max: number;
}

/** Undefined for no values, or where one is not a number. */
export function spread(values: number[]): Spread | undefined {
	const sorted = values.toSorted((a, b) => a - b);
	const middle = sorted.length >> 1;
	if (sorted.length === 0 || !sorted.every(Number.isFinite)) return undefined;
	const median = sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
	return { count: sorted.length, median, min: sorted[0]!, max: sorted.at(-1)! };
}

export type Quantity = (sample: Sample) => number;
export const cpu: Quantity = ({ run }) => run.cpu;
/**
 * Of a capture from CRIU's connection on, which is the time while the application is frozen; of all others the whole run.
 */
export const wall: Quantity = ({ run, measure, participant }) => {
	const isCapture = /capture|copy/.test(measure) && !floors.includes(participant);
	return isCapture ? run.served : run.wall;
};

export const GB = 2 ** 30;

export class Figures {
	constructor(readonly samples: Sample[]) {}

	sizes(measure: string): number[] {
		const all = this.samples.filter((sample) => sample.measure === measure).map(({ bytes }) => bytes);
		return [...new Set(all)].sort((a, b) => a - b);
	}

	shards(measure: string): number[] {
		const all = this.samples.filter((sample) => sample.measure === measure).map(({ shards }) => shards);
		return [...new Set(all)].sort((a, b) => a - b);
	}

	/** One value per round. */
	values(
		of: { measure: string; participant: Participant; shards: number; bytes: number },
		quantity: Quantity,
	): number[] {
		return this.samples
			.filter(
				(s) =>
					s.measure === of.measure &&
					s.participant === of.participant &&
					s.shards === of.shards &&
					s.bytes === of.bytes,
			)
			.sort((a, b) => a.round - b.round)
			.map(quantity);
	}

	/** Per GB, between the two largest sizes, one value per round: the cost of starting is not included. */
	slopes(of: { measure: string; participant: Participant; shards: number }, quantity: Quantity): number[] {
		const [smaller, larger] = this.sizes(of.measure).slice(-2);
		if (smaller === undefined || larger === undefined) return [];
		const low = this.values({ ...of, bytes: smaller }, quantity);
		return this.values({ ...of, bytes: larger }, quantity).map(
			(high, i) => ((high - low[i]!) / (larger - smaller)) * GB,
		);
	}
}

/**
 * One ratio per round. A round in which noise made a slope negative has none; a table has the number of rounds that were
 * left.
 */
export function ratios(above: number[], below: number[]): number[] {
	return above.flatMap((value, i) => (value > 0 && below[i]! > 0 ? [value / below[i]!] : []));
}

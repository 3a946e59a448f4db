/** From single runs to figures: medians over rounds, and ratios within rounds. */
import type { Measure, Participant, Quantity, Values } from './rows.js';

export interface Sample {
	measure: Measure;
	name: string;
	bytes: number;
	files: number;
	participant: Participant;
	round: number;
	run: Values;
}

/** The median of `count` values, with the quartiles around it, the smallest and the largest. */
export interface Spread {
	count: number;
	median: number;
	low: number;
	high: number;
	min: number;
	max: number;
}

/** Undefined for no values, or where one is not a number. */
export function spread(values: number[]): Spread | undefined {
	if (values.length === 0 || !values.every(Number.isFinite)) return undefined;
	const sorted = values.toSorted((a, b) => a - b);
	const at = (part: number) => {
		const index = part * (sorted.length - 1);
		return (sorted[Math.floor(index)]! + sorted[Math.ceil(index)]!) / 2;
	};
	return { count: sorted.length, median: at(0.5), low: at(0.25), high: at(0.75), min: at(0), max: at(1) };
}

export const GB = 2 ** 30;

/** Ours ÷ theirs, one ratio per round. */
export function ratios(above: number[], below: number[]): number[] {
	return above.flatMap((value, i) => (value > 0 && below[i]! > 0 ? [value / below[i]!] : []));
}

/** Rows of a measure, in the order in which they ran. */
export interface Line {
	name: string;
	bytes: number;
	files: number;
	/** One value per round in which the participant ran. */
	of(participant: Participant, quantity: Quantity): number[];
}

export function lines(samples: Sample[], measure: Measure): Line[] {
	const groups = new Map<string, Sample[]>();
	for (const sample of samples.filter((each) => each.measure === measure)) {
		const key = `${sample.name} ${sample.bytes} ${sample.files}`;
		groups.set(key, [...(groups.get(key) ?? []), sample]);
	}
	return [...groups.values()].map((group) => {
		const { name, bytes, files } = group[0]!;
		return {
			name,
			bytes,
			files,
			of: (participant, quantity) =>
				group
					.filter((sample) => sample.participant === participant)
					.sort((a, b) => a.round - b.round)
					.flatMap(({ run }) => run[quantity] ?? []),
		};
	});
}

/** Figures as markdown tables. */
import { GB, type Line, lines, ratios, type Sample, spread } from './figures.js';
import { goals, perFile } from './goals.js';
import { type Machine, machineLine } from './machine.js';
import { digits, median, table, times } from './markdown.js';
import type { Measure, Participant, Quantity } from './rows.js';

/** The results of a run of the bench; saved as JSON, so that tables and plot can be generated again. */
export interface Findings {
	machine: Machine;
	rounds: number;
	samples: Sample[];
	leftOut: string[];
}

const titles: Partial<Record<Measure, string>> = {
	capture: 'Capture into',
	replay: 'Replay (load and serve) from',
	extract: 'Extract to files',
};

function compared(line: Line, quantity: Quantity, above: Participant, below: Participant): string {
	return times(spread(ratios(line.of(above, quantity), line.of(below, quantity))));
}

/** The median of a quantity of one participant in a row, per GB. */
const perGBOf = (line: Line) => (participant: Participant, quantity: Quantity) =>
	median(line.of(participant, quantity).map((value) => (value / line.bytes) * GB));

/** Ours beside the limit and the original, per GB. */
function perGB(all: Line[]): string {
	const rows = all.map((line) => {
		const of = perGBOf(line);
		return [
			line.name,
			digits(line.bytes / GB),
			of('limit', 'wall'),
			of('ours', 'wall'),
			of('original', 'wall'),
			compared(line, 'wall', 'ours', 'limit'),
			compared(line, 'wall', 'ours', 'original'),
			of('ours', 'cpu'),
			of('original', 'cpu'),
			median(line.of('ours', 'resident').map((bytes) => bytes / 1e6)),
		];
	});
	const head = [
		...['', 'GB', 'limit', 'ours', 'original', 'ours ÷ limit', 'ours ÷ original'],
		...['CPU, ours', 'CPU, original', 'resident MB'],
	];
	return table(head, rows);
}

function copied(all: Line[]): string {
	const rows = all.map((line) => {
		const of = perGBOf(line);
		return [
			line.name,
			digits(line.bytes / GB),
			of('ours', 'wall'),
			of('copied', 'wall'),
			compared(line, 'wall', 'copied', 'ours'),
			of('ours', 'cpu'),
			of('copied', 'cpu'),
			compared(line, 'cpu', 'copied', 'ours'),
		];
	});
	const head = [
		'',
		'GB',
		'wall, always',
		'never',
		'never ÷ always',
		'CPU, always',
		'never',
		'never ÷ always',
	];
	return table(head, rows);
}

function balance(all: Line[]): string {
	const rows = all.map((line) => {
		const shares = line.of('ours', 'share').map((share) => 100 * share);
		return [line.name, String(shares.length), digits(Math.min(...shares)), median(shares)];
	});
	return table(['', 'runs', 'smallest share of any, %', 'smallest of a run, median, %'], rows);
}

function small(all: Line[]): string {
	const rows = all.flatMap((line) =>
		(['cpu', 'wall'] as const).map((quantity) => {
			const of = (participant: Participant) =>
				median(line.of(participant, quantity).map((value) => (value / line.files) * 1e6));
			return [
				`${line.name}, ${quantity} µs per file`,
				String(line.files),
				of('ours'),
				of('original'),
				compared(line, quantity, 'ours', 'original'),
			];
		}),
	);
	return table(['', 'files', 'ours', 'original', 'ours ÷ original'], rows);
}

function memory(all: Line[]): string {
	const counts = all.map(({ files }) => String(files)).join(' and ');
	const row = [counts, times(spread(perFile(all, 'ours'))), times(spread(perFile(all, 'original')))];
	return table(['bytes per file beside its content', 'ours', 'original'], [row]);
}

function start(all: Line[]): string {
	const rows = all.map((line) => {
		const of = (participant: Participant) =>
			median(line.of(participant, 'ready').map((seconds) => seconds * 1000));
		return ['', of('ours'), of('node'), compared(line, 'ready', 'ours', 'node'), of('original')];
	});
	return table(['ms', 'ours, to `socket-init`', '`node -e 0`', 'ours ÷ node', 'original'], rows);
}

/** Milliseconds. */
function frozen(all: Line[]): string {
	const rows = all.map((line) => {
		const of = (participant: Participant) =>
			median(line.of(participant, 'frozen').map((seconds) => seconds * 1000));
		return [
			line.name,
			digits(line.bytes / GB),
			of('files'),
			of('bare'),
			of('script'),
			of('original'),
			compared(line, 'frozen', 'script', 'files'),
		];
	});
	const head = [
		'into',
		'GB',
		'files in memory',
		'without the script',
		'with it',
		'original',
		'with it ÷ files',
	];
	return table(head, rows);
}

const sections: [Measure, string, (all: Line[]) => string][] = [
	...(['capture', 'replay', 'extract'] as const).map(
		(measure) => [measure, `${titles[measure]}, seconds per GB`, perGB] as [Measure, string, typeof perGB],
	),
	['copied', 'Copied bytes beside zero copy, seconds per GB', copied],
	['balance', 'Four equal shards', balance],
	['small', 'Small files', small],
	['memory', 'Memory of a replay with small files', memory],
	['start', 'Start-up', start],
	['frozen', 'With a real CRIU: frozen, ms', frozen],
	['running', 'With a real CRIU and --leave-running: frozen, ms', frozen],
];

/** The generated part of docs/bench.md. */
export function report({ machine, rounds, samples, leftOut }: Findings): string {
	const head = `${machineLine(machine)}. Medians of ${rounds} rounds, with the smallest and the largest in brackets; 1 GB is 2^30 bytes.`;
	const parts = [head];
	if (leftOut.length) parts.push(`Left out: ${leftOut.join('; ')}.`);
	if (samples.length) parts.push(`### Goals\n\n${goals(samples)}`);
	for (const [measure, title, print] of sections) {
		const all = lines(samples, measure);
		if (all.length) parts.push(`### ${title}\n\n${print(all)}`);
	}
	return parts.join('\n\n');
}

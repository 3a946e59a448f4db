/** Figures as markdown tables. */

import type { CriuRun } from './criu.js';
import {
	cpu,
	Figures,
	GB,
	type Quantity,
	ratios,
	type Sample,
	type Spread,
	spread,
	wall,
} from './figures.js';
import { type Machine, machineLine } from './machine.js';
import { floors, type Participant } from './trials.js';

/** The results of a run of the bench; saved as JSON, so that tables and plot can be generated again. */
export interface Findings {
	machine: Machine;
	rounds: number;
	samples: Sample[];
	criu: CriuRun[];
}

const names: Record<string, string> = {
	capture: 'capture',
	replay: 'replay (load and serve)',
	extract: 'extract to files, in memory (tmpfs)',
	disk: 'extract to files, on a disk',
};

function table(head: string[], rows: string[][]): string {
	const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
	return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

const digits = (value: number) =>
	value < 0 ? '–' : value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toPrecision(2);
const median = (values: number[]) => (values.length ? digits(spread(values)!.median) : '–');
const times = (found: Spread | undefined) =>
	found ? `${digits(found.median)} (${digits(found.min)} to ${digits(found.max)})` : '–';

/** Ratios of ours to the peer's, round by round, with the number of rounds where noise left fewer than were run. */
function compared(above: number[], below: number[]): string {
	const list = ratios(above, below);
	const text = times(spread(list));
	return list.length < Math.min(above.length, below.length)
		? `${text}, ${list.length} of ${above.length} rounds`
		: text;
}

/** One line per measure and number of shards, with the value per GB of each participant. */
function perGB(figures: Figures, quantity: Quantity): string {
	const rows = Object.keys(names).flatMap((measure) =>
		figures.shards(measure).map((shards) => {
			const of = (participant: Participant) => figures.slopes({ measure, participant, shards }, quantity);
			return [
				names[measure]!,
				String(shards),
				median(of('ours')),
				median(of('peer')),
				compared(of('ours'), of('peer')),
				...floors.map((floor) => median(of(floor))),
			];
		}),
	);
	return table(['', 'shards', 'ours', 'peer', 'ours ÷ peer', ...floors], rows);
}

/** The row of one participant, or none where it did not take part. */
function sizeRow(figures: Figures, of: Parameters<Figures['values']>[0]): string[][] {
	const { measure, participant, shards, bytes } = of;
	const values = (quantity: Quantity) => figures.values(of, quantity);
	if (values(cpu).length === 0) return [];
	const held = floors.includes(participant) ? '' : median(values(({ run }) => run.held / 1e6));
	return [
		[
			`${measure}, ${digits(bytes / GB)} GB`,
			String(shards),
			participant,
			median(values((sample) => bytes / GB / wall(sample))),
			median(values(cpu)),
			median(values(({ run }) => run.resident / 1e6)),
			held,
		],
	];
}

/** Every measured size: throughput including start-up, CPU and memory. */
function bySize(figures: Figures): string {
	const participants = ['ours', 'peer', ...floors] as Participant[];
	const rows = Object.keys(names).flatMap((measure) =>
		figures
			.sizes(measure)
			.flatMap((bytes) =>
				figures
					.shards(measure)
					.flatMap((shards) =>
						participants.flatMap((participant) => sizeRow(figures, { measure, participant, shards, bytes })),
					),
			),
	);
	const head = ['', 'shards', 'of', 'GB/s', 'CPU s', 'peak resident MB', 'memory held MB'];
	return table(head, rows);
}

function copying(figures: Figures): string {
	const [shards = 1] = figures.shards('copy');
	const row = (name: string, quantity: Quantity) => {
		const of = (participant: Participant) =>
			figures.slopes({ measure: 'copy', participant, shards }, quantity);
		const [moved, copied] = [of('ours'), of('copying')];
		return [name, median(moved), median(copied), compared(copied, moved)];
	};
	return table(
		['', '--zero-copy always', '--zero-copy never', 'never ÷ always'],
		[row('CPU seconds per GB', cpu), row('wall seconds per GB', wall)],
	);
}

function small(figures: Figures): string {
	const rows = ['small capture', 'small replay'].flatMap((measure) => {
		const files = figures.samples.find((sample) => sample.measure === measure)?.small;
		if (!files) return [];
		const at = { measure, shards: 1, bytes: 0 };
		const line = (name: string, quantity: Quantity) => {
			const of = (participant: Participant) =>
				figures.values({ ...at, participant }, (sample) => (quantity(sample) / files) * 1e6);
			return [
				`${measure.slice(6)}, ${name}`,
				String(files),
				median(of('ours')),
				median(of('peer')),
				compared(of('ours'), of('peer')),
			];
		};
		// Without start-up, which for a capture is the time until its socket exists.
		const after: Quantity = measure === 'small capture' ? ({ run }) => run.cpu - run.readyCpu : cpu;
		return [line('CPU µs per file', after), line('wall µs per file', wall)];
	});
	return table(['', 'files', 'ours', 'peer', 'ours ÷ peer'], rows);
}

function start(figures: Figures): string {
	const of = (participant: Participant) =>
		figures.values({ measure: 'start', participant, shards: 1, bytes: 0 }, ({ run }) => run.ready * 1000);
	return table(
		['ms', 'ours, to `socket-init`', '`node -e 0`', 'ours ÷ node', 'peer'],
		[['', median(of('ours')), median(of('node')), compared(of('ours'), of('node')), median(of('peer'))]],
	);
}

/** The project's goals beside the measured values. */
function goals(figures: Figures): string {
	const rows: string[][] = [];
	const goal = (name: string, max: number, unit: string, values: number[], rounds = values.length) => {
		const found = spread(values);
		if (!found) return;
		const isMet = found.median <= max ? 'yes' : '**no**';
		rows.push([name, `${max}${unit}`, times(found), values.length < rounds ? 'unclear: noise' : isMet]);
	};
	const perPeer = (name: string, measure: string, quantity: Quantity, max: number) => {
		const of = (participant: Participant) =>
			figures.slopes({ measure, participant, shards: figures.shards(measure)[0]! }, quantity);
		goal(name, max, ' × peer', ratios(of('ours'), of('peer')), of('peer').length);
	};
	perPeer('capture, CPU per GB', 'capture', cpu, 0.5);
	perPeer('capture, wall per GB', 'capture', wall, 0.4);
	perPeer('replay, CPU per GB', 'replay', cpu, 0.2);
	perPeer('replay, wall per GB', 'replay', wall, 0.35);
	perPeer('extract to a disk, CPU per GB', 'disk', cpu, 1);
	const largest = figures.sizes('replay').at(-1);
	const ours = figures.samples.filter(
		({ participant, bytes }) => participant === 'ours' && bytes === largest,
	);
	const replays = ours.filter(({ measure }) => measure === 'replay');
	const peak = Math.max(...ours.map(({ run }) => run.resident / 1e6));
	goal('peak resident memory, any command, MB', 80, '', largest ? [peak] : []);
	goal(
		'memory held by a replay, of the image',
		1.1,
		'',
		replays.map(({ run, bytes }) => run.held / bytes),
	);
	const files = (participant: Participant) => {
		const of = (measure: string) => figures.values({ measure, participant, shards: 1, bytes: 0 }, cpu);
		const replay = of('small replay');
		return of('small capture').map((value, i) => value + replay[i]!);
	};
	goal('small files both ways, CPU', 1.5, ' × peer', ratios(files('ours'), files('peer')));
	const ready = (participant: Participant) =>
		figures.values({ measure: 'start', participant, shards: 1, bytes: 0 }, ({ run }) => run.ready);
	goal('exec to `socket-init`', 2, ' × `node -e 0`', ratios(ready('ours'), ready('node')));
	return table(['', 'goal', 'measured', 'met'], rows);
}

function criuTable(runs: CriuRun[]): string {
	return table(
		['', 'frozen ms', 'writing memory, ms', 'dump, wall ms'],
		runs.map((run) => [run.name, digits(run.frozen), digits(run.memoryWrite), digits(run.wall)]),
	);
}

/** The generated part of docs/bench.md. */
export function report(findings: Findings): string {
	const figures = new Figures(findings.samples);
	const has = (measure: string) => findings.samples.some((sample) => sample.measure.startsWith(measure));
	const sections = [
		`${machineLine(findings.machine)}. Medians of ${findings.rounds} rounds, with the smallest and the largest in brackets; 1 GB is 2^30 bytes.`,
	];
	if (findings.samples.length) sections.push(`### Goals\n\n${goals(figures)}`);
	if (Object.keys(names).some(has)) {
		const pair = figures
			.sizes(Object.keys(names).find(has)!)
			.slice(-2)
			.map((bytes) => digits(bytes / GB));
		sections.push(
			`### CPU seconds per GB (slope from ${pair.join(' to ')} GB)\n\n${perGB(figures, cpu)}`,
			`### Wall seconds per GB (slope from ${pair.join(' to ')} GB)\n\n${perGB(figures, wall)}`,
		);
	}
	if (has('copy')) sections.push(`### Copied bytes beside zero copy\n\n${copying(figures)}`);
	if (has('small')) sections.push(`### Small files\n\n${small(figures)}`);
	if (has('start')) sections.push(`### Start-up\n\n${start(figures)}`);
	if (findings.criu.length) sections.push(`### With a real CRIU\n\n${criuTable(findings.criu)}`);
	if (Object.keys(names).some(has)) sections.push(`### By size\n\n${bySize(figures)}`);
	return sections.join('\n\n');
}

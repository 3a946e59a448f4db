/** The project's goals beside the measured values. */
import { type Line, lines, ratios, type Sample, type Spread, spread } from './figures.js';
import { SMALL_BYTES } from './load.js';
import { digits, table, times } from './markdown.js';
import type { Measure, Quantity } from './rows.js';

/** A reader that takes more than this times as long as cat is what a capture into it waits for. */
const BOTTLENECK = 2;
/** With fewer rounds nothing is known about noise. */
const MIN_ROUNDS = 3;

interface Goal {
	name: string;
	/** The largest value that meets it. */
	max: number;
	unit: string;
	values: number[];
}

/** Yes or no only where three quarters of the rounds agree. */
export function verdict(found: Spread, max: number): string {
	if (found.count < MIN_ROUNDS) return 'unclear: too few rounds';
	if (found.high <= max) return 'yes';
	return found.low > max ? '**no**' : 'unclear: noise';
}

/** The lines with the largest image. */
function largest(samples: Sample[], measure: Measure): Line[] {
	const all = lines(samples, measure);
	const bytes = Math.max(...all.map((line) => line.bytes));
	return all.filter((line) => line.bytes === bytes);
}

const ours = (line: Line, to: 'limit' | 'original', quantity: Quantity) =>
	ratios(line.of('ours', quantity), line.of(to, quantity));
const median = (values: number[]) => spread(values)?.median ?? Number.NaN;

function captures(samples: Sample[]): Goal[] {
	const all = largest(samples, 'capture');
	const quick = median(all.find(({ name }) => name === 'cat')?.of('limit', 'wall') ?? []);
	return all.flatMap((line) => {
		const isBottleneck = median(line.of('limit', 'wall')) > BOTTLENECK * quick;
		const name = `capture into ${line.name}`;
		const beyond = ['nothing', 'pv'].includes(line.name);
		return [
			{
				name: `${name}, wall`,
				max: beyond ? 0.4 : 1,
				unit: ' × original',
				values: ours(line, 'original', 'wall'),
			},
			{
				name: `${name}, CPU`,
				max: 0.4,
				unit: ' × original',
				values: beyond ? ours(line, 'original', 'cpu') : [],
			},
			{
				name: `${name}, wall`,
				max: isBottleneck ? 1.1 : 1.3,
				unit: ' × limit',
				values: ours(line, 'limit', 'wall'),
			},
		];
	});
}

function replays(samples: Sample[]): Goal[] {
	return largest(samples, 'replay').flatMap((line) => {
		const name = `replay from ${line.name}, wall`;
		return [
			{ name, max: 0.8, unit: ' × original', values: ours(line, 'original', 'wall') },
			{ name, max: 1.3, unit: ' × limit', values: ours(line, 'limit', 'wall') },
		];
	});
}

function frozen(samples: Sample[]): Goal[] {
	const more = lines(samples, 'frozen').map((line) => {
		const bare = line.of('bare', 'frozen');
		const values = line.of('script', 'frozen').map((value, i) => 1000 * (value - bare[i]!));
		return {
			name: `frozen with the script, ${digits(line.bytes / 2 ** 20)} MB into ${line.name}`,
			max: 10,
			unit: ' ms more than without',
			values,
		};
	});
	const running = lines(samples, 'running').map((line) => ({
		name: `frozen while all is copied, with the script, into ${line.name}`,
		max: 1.3,
		unit: ' × files in memory',
		values: ratios(line.of('script', 'frozen'), line.of('files', 'frozen')),
	}));
	return [...more, ...running];
}

/** Bytes for a small file that are not its content, from the lines of two numbers of files. */
export function perFile([more, fewer]: Line[], who: 'ours' | 'original'): number[] {
	if (!more || !fewer) return [];
	const less = fewer.of(who, 'resident');
	const files = more.files - fewer.files;
	return more.of(who, 'resident').map((bytes, i) => (bytes - less[i]!) / files - SMALL_BYTES);
}

function memory(samples: Sample[]): Goal[] {
	const small = perFile(lines(samples, 'memory'), 'ours');
	const held = largest(samples, 'replay').flatMap((line) =>
		line.of('ours', 'held').map((bytes) => bytes / line.bytes),
	);
	return [
		{ name: 'memory of a replay beside content, per small file', max: 250, unit: ' bytes', values: small },
		{ name: 'memory held by a replay', max: 1.1, unit: ' × image', values: held },
	];
}

function others(samples: Sample[]): Goal[] {
	const disk = largest(samples, 'extract').find(({ name }) => name === 'on a disk');
	const [capture, replay] = ['capture', 'replay'].map((name) =>
		lines(samples, 'small').find((line) => line.name === name),
	);
	const both = (who: 'ours' | 'original') =>
		capture && replay ? capture.of(who, 'cpu').map((value, i) => value + replay.of(who, 'cpu')[i]!) : [];
	const [start] = lines(samples, 'start');
	return [
		{
			name: 'extract to a disk, CPU',
			max: 1,
			unit: ' × original',
			values: disk ? ours(disk, 'original', 'cpu') : [],
		},
		{
			name: 'small files both ways, CPU',
			max: 1.5,
			unit: ' × original',
			values: ratios(both('ours'), both('original')),
		},
		{
			name: 'exec to `socket-init`',
			max: 2,
			unit: ' × `node -e 0`',
			values: start ? ratios(start.of('ours', 'ready'), start.of('node', 'ready')) : [],
		},
	];
}

/** Goals for the worst of all runs, which noise does not change. */
function worst(samples: Sample[]): string[][] {
	const rows: string[][] = [];
	const shares = lines(samples, 'balance').flatMap((line) => line.of('ours', 'share'));
	if (shares.length) {
		const least = 100 * Math.min(...shares);
		rows.push([
			`smallest share of four equal shards in ${shares.length} runs`,
			'≥ 15 %',
			`${digits(least)} %`,
			least >= 15 ? 'yes' : '**no**',
		]);
	}
	const resident = samples
		.filter(({ measure }) => ['capture', 'copied', 'replay', 'extract'].includes(measure))
		.filter(({ participant }) => ['ours', 'copied'].includes(participant))
		.map(({ run }) => run.resident! / 1e6);
	if (resident.length) {
		const most = Math.max(...resident);
		const verdict = most < 80 ? 'yes' : '**no**';
		rows.push(['peak resident memory, any command', '< 80 MB', `${digits(most)} MB`, verdict]);
	}
	return rows;
}

export function goals(samples: Sample[]): string {
	const all = [captures, replays, frozen, memory, others].flatMap((of) => of(samples));
	const rows = all.flatMap(({ name, max, unit, values }) => {
		const found = spread(values);
		return found ? [[name, `≤ ${max}${unit}`, times(found), verdict(found, max)]] : [];
	});
	return table(['', 'goal', 'measured', 'met'], [...rows, ...worst(samples)]);
}

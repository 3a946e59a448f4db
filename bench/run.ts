/** `npm run bench`: measures the figures of docs/bench.md. Tables go to stdout, progress to stderr. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { captureRows } from './captures.js';
import { GB, type Sample } from './figures.js';
import { frozenRows } from './frozen.js';
import { cache, compile } from './load.js';
import { describeMachine } from './machine.js';
import { makePlace } from './place.js';
import { plot } from './plot.js';
import { readers, senders } from './readers.js';
import { replayRows } from './replays.js';
import { measures, type Participant, type Plan, type Row } from './rows.js';
import { type Findings, report } from './table.js';

const BEGIN = '<!-- figures: made by npm run bench, not by hand -->';
const END = '<!-- end of figures -->';

const options = await yargs(hideBin(process.argv))
	.usage('npm run bench -- [options]')
	.options({
		sizes: { type: 'string', describe: 'Image sizes in GB [default: 1; quick: 0.06]' },
		files: { type: 'number', describe: 'Small files [default: 40000; quick: 2000]' },
		rounds: { type: 'number', describe: 'Runs of everything [default: 7; quick: 1]' },
		runs: { type: 'number', describe: 'Runs of the balance of shards [default: 50; quick: 2]' },
		only: { type: 'string', default: measures.join(), describe: 'What to measure' },
		through: { type: 'string', default: '', describe: 'Readers and senders, by name [default: all]' },
		peer: { type: 'string', describe: 'Another criu-image-streamer to run in turn with ours' },
		criu: { type: 'string', describe: 'A CRIU (as root) to measure the time frozen with' },
		tmpfs: { type: 'string', default: '/dev/shm', describe: 'A directory in memory' },
		disk: { type: 'string', default: cache, describe: 'A directory on a disk' },
		quick: { type: 'boolean', default: false, describe: 'A small run, to see that it works' },
		raw: { type: 'string', default: `${cache}bench.json`, describe: 'Where every single run is kept' },
		from: { type: 'string', describe: 'Make the tables from such a file instead of measuring' },
		save: { type: 'string', describe: 'Put the tables into this markdown file, and the plot beside it' },
	})
	.strict()
	.parse();

const list = (text: string) => text.split(',').filter(Boolean);
const say = (text: string) => process.stderr.write(`bench: ${text}\n`);

/** The names in a list, each of which must be one of `known`. */
function names<T extends string>(what: string, text: string, known: readonly T[]): T[] {
	const wrong = list(text).find((name) => !(known as readonly string[]).includes(name));
	if (wrong) throw new Error(`there is no ${what} '${wrong}': use ${known.join(', ')}`);
	return list(text) as T[];
}

async function makePlan(): Promise<Plan> {
	const { quick } = options;
	const ways = [...readers, ...senders].map(({ name }) => name);
	const only = names('measure', options.only, measures);
	const through = names('reader or sender', options.through, ways);
	if (!existsSync('dist/bin.js')) throw new Error('dist/bin.js is missing: run npm run build');
	compile();
	const files = options.files ?? (quick ? 2000 : 40000);
	return {
		sizes: list(options.sizes ?? (quick ? '0.06' : '1')).map(
			(size) => Math.round(Number(size) * 256) * 2 ** 22,
		),
		files,
		manyFiles: 5 * files,
		rounds: options.rounds ?? (quick ? 1 : 7),
		balanceRounds: options.runs ?? (quick ? 2 : 50),
		only,
		through,
		peer: options.peer,
		criu: options.criu,
		place: await makePlace(options.tmpfs, options.disk),
		leftOut: new Set(),
	};
}

/** Runs the participants of a row in turn, in reverse order every second round. */
async function runRow(row: Row, round: number): Promise<Sample[]> {
	const { runs, rounds, ...what } = row;
	const participants = Object.keys(runs) as Participant[];
	const samples: Sample[] = [];
	for (const participant of round % 2 ? participants.toReversed() : participants) {
		samples.push({ ...what, participant, round, run: await runs[participant]!() });
		// For signals: most runs do not wait for anything.
		await setImmediate();
	}
	return samples;
}

/** A row that fails has no part of that round, so that ratios stay within rounds. The bench goes on, and fails at its end. */
async function runAll(rows: Row[], findings: Findings): Promise<void> {
	const rounds = (row: Row) => row.rounds ?? findings.rounds;
	for (let round = 0; round < Math.max(...rows.map(rounds)); round++) {
		for (const row of rows.filter((each) => round < rounds(each))) {
			const size = row.bytes ? `${(row.bytes / GB).toFixed(2)} GB` : `${row.files} files`;
			const name = `round ${round + 1}: ${row.measure}, ${row.name}, ${size}`;
			try {
				findings.samples.push(...(await runRow(row, round)));
				say(name);
			} catch (error) {
				findings.leftOut.push(`${name} (failed)`);
				say(`${name}: ${(error as Error).message}`);
				process.exitCode = 1;
			}
		}
		writeFileSync(options.raw, JSON.stringify(findings));
	}
}

async function measure(): Promise<Findings> {
	const plan = await makePlan();
	const all = [...captureRows(plan), ...replayRows(plan), ...frozenRows(plan)];
	const rows = all.filter((row) => plan.only.includes(row.measure));
	for (const why of plan.leftOut) say(`left out: ${why}`);
	const machine = describeMachine();
	if (machine.busy > availableParallelism() / 2)
		say(`the machine is busy (load average ${machine.busy.toFixed(1)})`);
	const findings = { machine, rounds: plan.rounds, samples: [], leftOut: [...plan.leftOut] };
	await runAll(rows, findings);
	return findings;
}

/** Replaces the text between the marks; the text around them stays. */
function save(path: string, text: string, svg: string): void {
	const old = existsSync(path) ? readFileSync(path, 'utf8') : `# Bench\n\n${BEGIN}\n${END}\n`;
	const [begin, end] = [old.indexOf(BEGIN), old.indexOf(END)];
	if (begin < 0 || end < begin)
		throw new Error(`${path} has no lines '${BEGIN}' and '${END}' to write between`);
	const image = path.replace(/(\.md)?$/, '.svg');
	const shown = svg ? `\n![Wall seconds per GB of captures and replays](${basename(image)})\n` : '';
	mkdirSync(dirname(path), { recursive: true });
	writeFileSync(path, `${old.slice(0, begin)}${BEGIN}\n\n${text}\n${shown}\n${old.slice(end)}`);
	if (svg) writeFileSync(image, svg);
}

try {
	const findings: Findings = options.from ? JSON.parse(readFileSync(options.from, 'utf8')) : await measure();
	const text = report(findings);
	process.stdout.write(`${text}\n`);
	if (options.save) save(options.save, text, plot(findings.samples));
	process.exit();
} catch (error) {
	say((error as Error).message);
	process.exit(1);
}

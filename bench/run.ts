/** `npm run bench`: measures the figures of docs/bench.md. Tables go to stdout, progress to stderr. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname } from 'node:path';
import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { criuRuns } from './criu.js';
import { GB, type Sample } from './figures.js';
import { cache, compile } from './load.js';
import { describeMachine } from './machine.js';
import { plot } from './plot.js';
import { type Findings, report } from './table.js';
import { floors, groups, measures, type Plan, prepare, trial } from './trials.js';

const CRIU_BYTES = 2 * GB;
const BEGIN = '<!-- figures: made by npm run bench, not by hand -->';
const END = '<!-- end of figures -->';

const options = await yargs(hideBin(process.argv))
	.usage('npm run bench -- [options]')
	.options({
		sizes: { type: 'string', describe: 'Image sizes in GB [default: 0.25,1,4; quick: 0.06,0.25]' },
		shards: { type: 'string', default: '1,4', describe: 'Numbers of shards' },
		files: { type: 'number', describe: 'Small files [default: 40000; quick: 2000]' },
		rounds: { type: 'number', describe: 'Runs of everything [default: 5; quick: 2]' },
		only: { type: 'string', default: measures.join(), describe: 'What to measure; also criu' },
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

async function measure(): Promise<Findings> {
	const plan: Plan = {
		sizes: list(options.sizes ?? (options.quick ? '0.06,0.25' : '0.25,1,4')).map(
			(size) => Math.round(Number(size) * 256) * 2 ** 22,
		),
		shards: list(options.shards).map(Number),
		smallFiles: options.files ?? (options.quick ? 2000 : 40000),
		rounds: options.rounds ?? (options.quick ? 2 : 5),
		only: list(options.only),
		peer: options.peer,
		floors: floors.filter((name) => spawnSync(name, ['--version']).status === 0),
		tmpfs: options.tmpfs,
		disk: options.disk,
	};
	const unknown = plan.only.find(
		(name) => !(measures as readonly string[]).includes(name) && name !== 'criu',
	);
	if (unknown) throw new Error(`there is no measure '${unknown}': use ${measures.join(', ')} or criu`);
	if (!existsSync('dist/bin.js')) throw new Error('dist/bin.js is missing: run npm run build');
	compile();
	prepare(plan);
	const machine = describeMachine();
	if (machine.busy > availableParallelism() / 2)
		say(`the machine is busy (load average ${machine.busy.toFixed(1)})`);
	const samples: Sample[] = [];
	for (let round = 0; round < plan.rounds; round++)
		for (const group of groups(plan)) {
			const { participants, ...trialed } = group;
			for (const participant of round % 2 ? participants.toReversed() : participants)
				samples.push({ ...trialed, participant, round, run: trial(plan, group, participant) });
			say(
				`round ${round + 1}: ${trialed.measure}, ${(trialed.bytes / GB).toFixed(2)} GB, ${trialed.shards} shards`,
			);
		}
	const criu = options.criu ? await criuRuns(options.criu, plan, options.quick ? GB / 8 : CRIU_BYTES) : [];
	return { machine, rounds: plan.rounds, samples, criu };
}

/** Replaces the text between the marks; the text around them stays. */
function save(path: string, text: string, svg: string): void {
	const old = existsSync(path) ? readFileSync(path, 'utf8') : `# Bench\n\n${BEGIN}\n${END}\n`;
	const [begin, end] = [old.indexOf(BEGIN), old.indexOf(END)];
	if (begin < 0 || end < begin)
		throw new Error(`${path} has no lines '${BEGIN}' and '${END}' to write between`);
	const image = path.replace(/(\.md)?$/, '.svg');
	const shown = svg ? `\n![CPU and wall seconds by image size](${basename(image)})\n` : '';
	mkdirSync(dirname(path), { recursive: true });
	writeFileSync(path, `${old.slice(0, begin)}${BEGIN}\n\n${text}\n${shown}\n${old.slice(end)}`);
	if (svg) writeFileSync(image, svg);
}

try {
	const findings: Findings = options.from ? JSON.parse(readFileSync(options.from, 'utf8')) : await measure();
	if (!options.from) writeFileSync(options.raw, JSON.stringify(findings));
	const text = report(findings);
	process.stdout.write(`${text}\n`);
	if (options.save) save(options.save, text, plot(findings.samples));
} catch (error) {
	say((error as Error).message);
	process.exitCode = 1;
}

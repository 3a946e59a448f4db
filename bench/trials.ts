/** The measurements: each trial is one command between load generators, for one participant. */
import { mkdirSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { cache, load, type Run } from './load.js';

export const measures = ['capture', 'copy', 'replay', 'extract', 'disk', 'small', 'start'] as const;
export type Measure = (typeof measures)[number];
export type Participant = 'ours' | 'peer' | 'copying' | 'cat' | 'pv' | 'tar' | 'node';

/** Participants that show the minimum cost of one pass through a pipe. */
export const floors: Participant[] = ['cat', 'pv', 'tar'];

export interface Plan {
	/** Bytes of an image. */
	sizes: number[];
	shards: number[];
	smallFiles: number;
	rounds: number;
	only: string[];
	/** Another criu-image-streamer to compare with ours. */
	peer: string | undefined;
	/** Which of cat, pv and tar are installed. */
	floors: Participant[];
	/** A directory in memory, and one on a disk. */
	tmpfs: string;
	disk: string;
}

/** Participants that run one after the other within a round, so that their ratio is from the same minute. */
export interface Group {
	measure: Measure | 'small capture' | 'small replay';
	bytes: number;
	small: number;
	shards: number;
	participants: Participant[];
}

const ours = [process.execPath, fileURLToPath(new URL('../dist/bin.js', import.meta.url))];
const shardFds = (shards: number) => Array.from({ length: shards }, (_, i) => 10 + i).join();

/** All groups of a plan, in the order in which a round runs them. */
export function groups(plan: Plan): Group[] {
	const streamers: Participant[] = plan.peer ? ['ours', 'peer'] : ['ours'];
	const installed = (...names: Participant[]) => names.filter((name) => plan.floors.includes(name));
	const list: Group[] = [];
	for (const bytes of plan.sizes)
		for (const shards of plan.shards) {
			const beside = shards === plan.shards[0] ? installed : () => [];
			list.push(
				{
					measure: 'capture',
					bytes,
					small: 0,
					shards,
					participants: [...streamers, ...beside('cat', 'pv', 'tar')],
				},
				{ measure: 'replay', bytes, small: 0, shards, participants: [...streamers, ...beside('cat', 'pv')] },
				{ measure: 'extract', bytes, small: 0, shards, participants: [...streamers, ...beside('tar')] },
			);
			if (shards !== plan.shards[0]) continue;
			list.push(
				{ measure: 'copy', bytes, small: 0, shards, participants: ['ours', 'copying'] },
				{ measure: 'disk', bytes, small: 0, shards, participants: [...streamers, ...installed('tar')] },
			);
		}
	list.push(
		{ measure: 'small capture', bytes: 0, small: plan.smallFiles, shards: 1, participants: streamers },
		{ measure: 'small replay', bytes: 0, small: plan.smallFiles, shards: 1, participants: streamers },
		{ measure: 'start', bytes: 0, small: 0, shards: 1, participants: [...streamers, 'node'] },
	);
	return list.filter(({ measure }) => plan.only.includes(measure.split(' ')[0]!));
}

/** Runs one participant of a group once, and checks that it did its work. */
export function trial(plan: Plan, group: Group, participant: Participant): Run {
	const { measure, bytes, small, shards } = group;
	const onDisk = measure === 'disk';
	const dir = mkdtempSync(`${onDisk ? plan.disk : measure === 'extract' ? plan.tmpfs : tmpdir()}/bench-`);
	// Memory to warm: the image that a streamer holds, and some reserve.
	const held = /capture|copy|start/.test(measure) ? 0 : bytes * 1.2 + 2 ** 26;
	const image = { bytes, small, shards, dir, warm: held };
	const streamer = [...(participant === 'peer' ? [plan.peer!] : ours), '--images-dir', dir];
	const fds = ['--progress-fd', '9', '--shard-fds', shardFds(shards)];
	const zeroCopy =
		participant === 'peer' ? [] : ['--zero-copy', participant === 'copying' ? 'never' : 'always'];
	try {
		if (measure === 'start')
			return load(
				{ stop: 1, out: 1 },
				participant === 'node' ? [process.execPath, '-e', '0'] : [...streamer, ...fds, 'capture'],
			);
		if (measure === 'capture' && participant === 'tar') return tarOut(plan, bytes);
		if (participant === 'cat' || participant === 'pv') {
			const pass = participant === 'cat' ? ['cat'] : ['pv', '-q'];
			return checked(
				load({ in: 'raw', at: 0, out: 1, ref: measure === 'capture' ? 1 : 0, bytes }, pass),
				'drained',
				bytes,
			);
		}
		if (measure === 'capture' || measure === 'copy' || measure === 'small capture') {
			const run = load({ ...image, criu: 'dump', out: 1 }, [...streamer, ...fds, ...zeroCopy, 'capture']);
			return checked(run, 'drained', bytes);
		}
		if (measure === 'replay' || measure === 'small replay')
			return checked(
				load({ ...image, in: 'stream', criu: 'restore' }, [...streamer, ...fds, 'serve']),
				'moved',
				bytes,
			);
		const run =
			participant === 'tar'
				? load({ ...image, in: 'tar', at: 0 }, ['tar', '-x', '-C', dir])
				: load({ ...image, in: 'stream' }, [...streamer, ...fds, 'extract']);
		if (statSync(`${dir}/pages-1.img`).size !== bytes)
			throw new Error(`${participant} extracted another size than ${bytes}`);
		return run;
	} finally {
		rmSync(dir, { recursive: true });
	}
}

function checked(run: Run, field: 'moved' | 'drained', bytes: number): Run {
	if (run[field] < bytes) throw new Error(`${run[field]} bytes arrived instead of ${bytes}`);
	return run;
}

/** tar reads a file in memory and writes it into a pipe. */
function tarOut(plan: Plan, bytes: number): Run {
	const dir = mkdtempSync(`${plan.tmpfs}/bench-`);
	try {
		writeFileSync(`${dir}/pages-1.img`, '');
		const block = Buffer.alloc(2 ** 20, 1);
		for (let at = 0; at < bytes; at += block.length)
			writeFileSync(`${dir}/pages-1.img`, block, { flag: 'a' });
		truncateSync(`${dir}/pages-1.img`, bytes);
		return checked(load({ at: 1, out: 1 }, ['tar', '-c', '-C', dir, '.']), 'drained', bytes);
	} finally {
		rmSync(dir, { recursive: true });
	}
}

export function prepare(plan: Plan): void {
	mkdirSync(cache, { recursive: true });
	mkdirSync(plan.disk, { recursive: true });
}

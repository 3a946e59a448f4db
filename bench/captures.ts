/** Captures into each reader, beside the same pages straight into that reader. */
import { mkdtempSync, rmSync } from 'node:fs';
import { holder, toConnect } from './connection.js';
import { load, type Run, type Settings, SMALL_BYTES } from './load.js';
import { expand, ours } from './place.js';
import type { Reader } from './readers.js';
import { type Plan, type Row, SETTLE_MILLIS, usableReaders, type Values, warmth } from './rows.js';

function shardFds(count: number): string {
	return Array.from({ length: count }, (_, i) => 10 + i).join();
}

interface Trial {
	plan: Plan;
	reader: Reader;
	bytes: number;
	files?: number;
}

/** Runs once, with the settings and the command that `how` adds, in directories of its own. */
function trial(of: Trial, how: (dir: string) => { settings: Settings; command: string[] }): Run {
	const { plan, reader, bytes, files = 0 } = of;
	const { place } = plan;
	const dir = mkdtempSync(`${place.MEMORY}/run-`);
	const file = reader.kind === 'file' ? expand(reader.path, place) : undefined;
	const common = {
		criu: 'dump',
		dir,
		bytes,
		small: files,
		shards: reader.shards ?? 1,
		settle: reader.settle ?? SETTLE_MILLIS,
		warm: warmth(bytes),
	};
	try {
		const { settings, command } = how(dir);
		return load({ ...common, ...settings }, command, place);
	} finally {
		rmSync(dir, { recursive: true });
		if (file) rmSync(file, { force: true });
	}
}

/** Checks that an image is whole by what the streamer says of its shards. */
function values(run: Run, { bytes, files = 0 }: Trial): Values {
	const sum = run.shards.reduce((a, b) => a + b, 0);
	const wanted = bytes + files * SMALL_BYTES;
	if (sum < wanted) throw new Error(`${sum} bytes arrived instead of ${wanted}`);
	return { ...run, share: Math.min(...run.shards) / sum };
}

function ourCapture(of: Trial, zeroCopy: 'always' | 'never'): Values {
	const { reader } = of;
	const { place } = of.plan;
	const run = trial(of, (dir) => {
		const streamer = [...ours, '--work-dir', dir, '--progress-fd', '9', '--zero-copy', zeroCopy];
		const through = [...streamer, '--shard-fds', shardFds(reader.shards ?? 1), 'capture'];
		if (reader.kind === 'pipe') return { settings: { reader: reader.command }, command: through };
		if (reader.kind === 'file') return { settings: { link: expand(reader.path, place) }, command: through };
		const far = mkdtempSync(`${dir}/far-`);
		return {
			settings: { link: 'none', reader: `exec ${holder(place, reader, far)}`, hold: 1 },
			command: [...streamer, ...toConnect(place, reader), 'capture'],
		};
	});
	return values(run, of);
}

function originalCapture(of: Trial): Values {
	const run = trial(of, (dir) => ({
		settings: { reader: of.reader.command },
		command: [
			...[of.plan.peer!, '--images-dir', dir, '--progress-fd', '9'],
			...['--shard-fds', shardFds(of.reader.shards ?? 1), 'capture'],
		],
	}));
	return values(run, of);
}

/** Without a streamer. What would be behind its connection is behind a plain one. */
function limit(of: Trial): Values {
	const { reader } = of;
	const { place } = of.plan;
	return trial(of, () => {
		if (reader.kind === 'file') return { settings: { link: expand(reader.path, place) }, command: [] };
		const settings =
			reader.kind === 'connection' && reader.link !== 'pipe'
				? { link: reader.link, reader: '"$LOAD" keep > /dev/null', hold: 1 }
				: { reader: reader.command };
		return { settings, command: [] };
	});
}

/** Readers that copied captures are measured with: the fewer the readers do, the more a copy costs. */
const COPIED = ['nothing', 'cat', 'lz4', '--connect tcp'];

/** Rows of the measures capture, copied and balance, and of small files. */
export function captureRows(plan: Plan): Row[] {
	const rows: Row[] = [];
	const all = usableReaders(plan);
	for (const bytes of plan.sizes)
		for (const reader of all) {
			const of = { plan, reader, bytes };
			const row = { name: reader.name, bytes, files: 0 };
			const original = plan.peer ? { original: () => originalCapture(of) } : {};
			const runs = { limit: () => limit(of), ours: () => ourCapture(of, 'always'), ...original };
			rows.push({ ...row, measure: 'capture', runs });
			const copied = { ours: runs.ours, copied: () => ourCapture(of, 'never') };
			if (COPIED.includes(reader.name)) rows.push({ ...row, measure: 'copied', runs: copied });
			if (reader.shards && bytes === plan.sizes[0])
				rows.push({ ...row, measure: 'balance', rounds: plan.balanceRounds, runs: { ours: runs.ours } });
		}
	const nothing = all.find(({ name }) => name === 'nothing');
	if (nothing) rows.push(smallRow(plan, nothing));
	return rows;
}

function smallRow(plan: Plan, reader: Reader): Row {
	const of = { plan, reader, bytes: 0, files: plan.files };
	return {
		measure: 'small',
		name: 'capture',
		bytes: 0,
		files: plan.files,
		runs: {
			ours: () => ourCapture(of, 'always'),
			...(plan.peer ? { original: () => originalCapture(of) } : {}),
		},
	};
}

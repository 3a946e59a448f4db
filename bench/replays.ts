/** Replays, beside the same sender into a reader that only reads; extracts to files; memory for small files; the start. */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { image } from './images.js';
import { load, type Settings, SMALL_BYTES } from './load.js';
import { ours } from './place.js';
import type { Sender } from './readers.js';
import { type Plan, type Row, SETTLE_MILLIS, usableSenders, type Values, warmth } from './rows.js';

const PAGES = 'pages-1.img';
/** Of small files, and of files to extract. */
const cat: Sender = { name: 'cat', command: 'cat "$IMAGE"' };

interface Trial {
	plan: Plan;
	bytes: number;
	files: number;
	/** Its command, and what is between it and the streamer. */
	sender: Pick<Sender, 'command' | 'link'>;
	/** A restoring CRIU, or files. */
	to: 'criu' | 'MEMORY' | 'DISK';
	/** Small files that CRIU asks for, unless all. */
	asked?: number;
}

/** Runs once, in a directory of its own. Without a command everything is read and discarded. */
function trial(of: Trial, command: (dir: string) => string[]): Values {
	const { plan, bytes, files, sender, to, asked = files } = of;
	const dir = mkdtempSync(`${plan.place[to === 'DISK' ? to : 'MEMORY']}/run-`);
	const settings: Settings = {
		criu: to === 'criu' ? 'restore' : 'none',
		dir,
		bytes,
		small: asked,
		link: sender.link ?? 'pipe',
		sender: sender.command,
		settle: SETTLE_MILLIS,
		warm: warmth(bytes + files * SMALL_BYTES),
	};
	try {
		const run = load(settings, command(dir), { ...plan.place, IMAGE: image(plan, bytes, files) });
		const got = to === 'criu' ? run.moved : statSync(`${dir}/${PAGES}`).size;
		const wanted = bytes + (to === 'criu' ? asked * SMALL_BYTES : 0);
		if (got < wanted) throw new Error(`${got} bytes arrived instead of ${wanted}`);
		return run;
	} finally {
		rmSync(dir, { recursive: true });
	}
}

const through = ['--progress-fd', '9', '--shard-fds', '10'];
const command = ({ to }: Trial) => (to === 'criu' ? 'serve' : 'extract');

function oursOnce(of: Trial): Values {
	return trial(of, (dir) => [...ours, '--images-dir', dir, ...through, command(of)]);
}

function originalOnce(of: Trial): Values {
	return trial(of, (dir) => [of.plan.peer!, '--images-dir', dir, ...through, command(of)]);
}

/** For files a plain copy of the stream. */
function limitOnce(of: Trial): Values {
	const copy = `cat <&10 > "$0/${PAGES}" && sync "$0/${PAGES}"`;
	return trial(of, (dir) => (of.to === 'criu' ? [] : ['bash', '-c', copy, dir]));
}

/** Ours, and the original where there is one, which reads from pipes alone. */
function streamers(of: Trial, piped = of.sender.command): Row['runs'] {
	const original = () => originalOnce({ ...of, sender: { command: piped } });
	return { ours: () => oursOnce(of), ...(of.plan.peer ? { original } : {}) };
}

export function replayRows(plan: Plan): Row[] {
	const rows: Row[] = [];
	for (const bytes of plan.sizes) {
		const what = { bytes, files: 0 };
		for (const sender of usableSenders(plan)) {
			const of = { plan, ...what, sender, to: 'criu' } as const;
			const runs = { limit: () => limitOnce(of), ...streamers(of, sender.piped) };
			rows.push({ measure: 'replay', name: sender.name, ...what, runs });
		}
		for (const to of ['MEMORY', 'DISK'] as const) {
			const of = { plan, ...what, sender: cat, to };
			const runs = { limit: () => limitOnce(of), ...streamers(of) };
			rows.push({ measure: 'extract', name: to === 'DISK' ? 'on a disk' : 'in memory', ...what, runs });
		}
	}
	const memory = [plan.manyFiles, plan.manyFiles / 2].map((files) => memoryRow(plan, files));
	return [...rows, smallRow(plan), ...memory, startRow(plan)];
}

function smallRow(plan: Plan): Row {
	const what = { bytes: 0, files: plan.files };
	const runs = streamers({ plan, ...what, sender: cat, to: 'criu' });
	return { measure: 'small', name: 'replay', ...what, runs };
}

/** No file is asked for, so that all are held at once. Of two numbers of files the difference has no fixed cost in it. */
function memoryRow(plan: Plan, files: number): Row {
	const what = { bytes: 0, files };
	const runs = streamers({ plan, ...what, sender: cat, to: 'criu', asked: 0 });
	return { measure: 'memory', name: 'small files', ...what, runs };
}

function startRow(plan: Plan): Row {
	const { place } = plan;
	const start = (command: string[]) => () => {
		const dir = mkdtempSync(`${place.MEMORY}/run-`);
		const args = command.length > 2 ? command : [...command, '--images-dir', dir, ...through, 'capture'];
		try {
			return load({ stop: 1, reader: '"$LOAD" drain' }, args, place);
		} finally {
			rmSync(dir, { recursive: true });
		}
	};
	const runs = { ours: start(ours), node: start([process.execPath, '-e', '0']) };
	const original = plan.peer ? { original: start([plan.peer]) } : {};
	return { measure: 'start', name: 'socket-init', bytes: 0, files: 0, runs: { ...runs, ...original } };
}

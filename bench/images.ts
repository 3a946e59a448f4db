/** Images to replay, in files in memory: what a capture of ours writes. Each is made once, before anything is timed. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { load } from './load.js';
import { ours } from './place.js';
import { pathOf } from './readers.js';
import type { Plan } from './rows.js';

/** The path of a stream of that content. Beside it are compressed ones, unless there are but small files. */
export function image(plan: Plan, bytes: number, files: number): string {
	const { place } = plan;
	const path = `${place.MEMORY}/image-${bytes}-${files}`;
	if (!existsSync(path)) {
		const dir = mkdtempSync(`${place.MEMORY}/run-`);
		load(
			{ criu: 'dump', dir, bytes, small: files, link: path },
			[
				...[...ours, '--work-dir', dir, '--zero-copy', 'always'],
				...['--progress-fd', '9', '--shard-fds', '10', 'capture'],
			],
			place,
		);
		rmSync(dir, { recursive: true });
		if (bytes > 0) compress(path);
	}
	return path;
}

function compress(path: string): void {
	if (pathOf('lz4')) execFileSync('lz4', ['-q', path, `${path}.lz4`]);
	if (pathOf('zstd')) execFileSync('zstd', ['-q', '-1', path, '-o', `${path}.zst`]);
}

/** --display-stats: amount of data and throughput. */

import type { StreamSummary } from '../stream/summary.js';
import { linesTo } from './lines.js';

/** Writes the statistics to stderr; `done` is the verb: "captured", "received". */
export function displayStats(done: string, { shards, files }: StreamSummary): void {
	const bytes = shards.reduce((sum, shard) => sum + shard.bytes, 0);
	const seconds = Math.max(...shards.map(({ millis }) => millis), 1) / 1000;
	const mebibytes = bytes / 2 ** 20;
	const rate = (mebibytes / seconds).toFixed(0);
	const each = shards.map((shard) => (shard.bytes / 2 ** 20).toFixed(1)).join(' + ');
	linesTo(2).write(
		`Displaying stats:\n` +
			`${done} ${files} files, ${mebibytes.toFixed(1)} MiB in ${seconds.toFixed(3)} s (${rate} MiB/s)\n` +
			`over ${shards.length === 1 ? '1 shard' : `${shards.length} shards: ${each} MiB`}\n`,
	);
}

/** Progress for other programs, in the same lines as criu-image-streamer writes. */

import type { StreamSummary } from '../stream/summary.js';
import { linesTo } from './lines.js';
import { displayStats } from './stats.js';

/** Events of a transfer. A call never throws, and never waits. */
export interface ProgressEvents {
	/** CRIU can connect. */
	socketInit(): void;
	/** The application is frozen. */
	checkpointStart(): void;
	/** The data that passed through each shard. */
	transferred(summary: StreamSummary): void;
}

/** Writes to --progress-fd; a reader that is slow or has closed its end is not an error. */
export class Progress implements ProgressEvents {
	/**
	 * @param fd undefined: progress is not written
	 * @param done with --display-stats: what is done to a stream ("captured", "received"); false: no statistics
	 */
	constructor(
		readonly fd: number | undefined,
		readonly done: string | false = false,
	) {}

	socketInit(): void {
		this.#line('socket-init');
	}

	checkpointStart(): void {
		this.#line('checkpoint-start');
	}

	transferred(summary: StreamSummary): void {
		const shards = summary.shards.map(({ bytes, millis }) => ({
			size: bytes,
			transfer_duration_millis: millis,
		}));
		this.#line(JSON.stringify({ shards }));
		if (this.done) displayStats(this.done, summary);
	}

	#line(text: string): void {
		if (this.fd !== undefined) linesTo(this.fd).write(`${text}\n`);
	}
}

/** Progress for other programs: the same lines as criu-image-streamer writes. */

import type { StreamSummary } from '../stream/summary.js';
import { linesTo } from './lines.js';

/** Writes to --progress-fd; a reader that is slow or gone is no error. */
export class Progress {
	constructor(readonly fd: number) {}

	/** CRIU can connect. */
	socketInit(): void {
		this.#line('socket-init');
	}

	/** The application is frozen. */
	checkpointStart(): void {
		this.#line('checkpoint-start');
	}

	/** What passed through each shard. */
	transferred({ shards }: StreamSummary): void {
		const each = shards.map(({ bytes, millis }) => ({ size: bytes, transfer_duration_millis: millis }));
		this.#line(JSON.stringify({ shards: each }));
	}

	#line(text: string): void {
		linesTo(this.fd).write(`${text}\n`);
	}
}

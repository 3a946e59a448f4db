/**
 * Detects that there is no progress any more. Each user defines what counts as progress:
 * - a capture waiting for any shard to have room: its reader has taken bytes (stream/balancer.ts);
 * - a capture waiting for one shard: its reader has taken bytes, or it is writable (stream/shard-writer.ts);
 * - a capture waiting for its last bytes to be taken: fewer are left than before (stream/drained.ts);
 * - a reader: a byte has come over any shard (stream/shard-reader.ts);
 * - a sender waiting for the receiver's confirmation: any message from it (peer/link.ts);
 * - the image socket: a message that has begun is complete (criu/connection.ts).
 *
 * It has no timer of its own: code that polls reads {@link StallDetector.stalled}, code that waits for a descriptor passes
 * {@link StallDetector.deadline} to waitFor. It uses the monotonic clock, because the real-time clock may be set.
 */
export class StallDetector {
	#since = performance.now();
	#mark: number | undefined;

	/** Counts from now; `millis` without progress are a stall, with 0 there is never one. */
	constructor(readonly millis: number) {}

	/** There was progress `at` a time (of performance.now). */
	progress(at = performance.now()): void {
		if (at > this.#since) this.#since = at;
	}

	/** Counts a change of `mark`, a counter, as progress. */
	observe(mark: number): void {
		if (mark === this.#mark) return;
		this.#mark = mark;
		this.progress();
	}

	/** Milliseconds until a stall. */
	get left(): number {
		return this.millis ? this.#since + this.millis - performance.now() : Number.POSITIVE_INFINITY;
	}

	get stalled(): boolean {
		return this.left <= 0;
	}

	/** The time of a stall, for waitFor. */
	get deadline(): number {
		return this.millis ? Date.now() + this.left : Number.POSITIVE_INFINITY;
	}
}

/**
 * Notices that nothing goes on any more. What counts as progress is its user's to say:
 * - a capture waiting for any shard to have room: its reader has taken bytes (stream/balancer.ts);
 * - a capture waiting for one shard: it has become writable (stream/shard-writer.ts);
 * - a capture waiting for its last bytes to be taken: fewer are left than before (stream/drained.ts);
 * - a reader: a byte has come over any shard (stream/shard-reader.ts);
 * - a sender waiting for the receiver's word: any message from it (peer/link.ts);
 * - the image socket: a message, once begun, is whole (criu/connection.ts).
 *
 * It has no timer of its own: those who look now and then ask whether it is {@link StallDetector.stalled}, those who wait for
 * a descriptor give {@link StallDetector.deadline} to waitFor. By the monotonic clock: the other one may be set.
 */
export class StallDetector {
	#since = performance.now();
	#mark: number | undefined;

	/** Counts from now; `millis` without progress are a stall, 0: there is none. */
	constructor(readonly millis: number) {}

	/** There was progress `at` a time (of performance.now). */
	progress(at = performance.now()): void {
		if (at > this.#since) this.#since = at;
	}

	/** Takes a counter that changes with every progress. */
	observe(mark: number): void {
		if (mark === this.#mark) return;
		this.#mark = mark;
		this.progress();
	}

	/** Milliseconds that are left. */
	get left(): number {
		return this.millis ? this.#since + this.millis - performance.now() : Number.POSITIVE_INFINITY;
	}

	get stalled(): boolean {
		return this.left <= 0;
	}

	/** When it will be stalled, as waitFor takes it. */
	get deadline(): number {
		return this.millis ? Date.now() + this.left : Number.POSITIVE_INFINITY;
	}
}

/** Waiting for conditions: tests depend on events, not on their time. */

/** Far longer than any condition takes on the slowest machine: it ends a test that would hang. */
const SECONDS = 120;
const POLL_MILLIS = 10;
/** A value that has not changed for so long counts as settled: there is no event for that. */
const STILL_MILLIS = 500;

/** The first value of `condition` that is neither undefined nor false. `what` is for the error: "the socket". */
export async function until<T>(
	what: string,
	condition: () => T | undefined | false | Promise<T | undefined | false>,
	seconds = SECONDS,
): Promise<T> {
	for (const end = Date.now() + seconds * 1000; ; ) {
		const value = await condition();
		if (value !== undefined && value !== false) return value;
		if (Date.now() > end) throw new Error(`waited ${seconds} seconds in vain for ${what}`);
		await new Promise((resolve) => setTimeout(resolve, POLL_MILLIS));
	}
}

/** The value of `measure` once it is over 0 and does not change any more. `what` is for the error: "the pipe". */
export async function settled(what: string, measure: () => number): Promise<number> {
	let value = measure();
	let since = Date.now();
	return await until(`${what} to come to a stop`, () => {
		const now = measure();
		if (now !== value) since = Date.now();
		value = now;
		return now > 0 && Date.now() - since >= STILL_MILLIS ? now : undefined;
	});
}

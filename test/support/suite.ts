/**
 * uvu, with additions: skips with a reason, a time limit per test, clean-up after a test, and totals for test/run.ts. uvu
 * itself exits with 0 when a `before` hook throws or a test rejects with a value that is not an Error, so the result depends
 * on the numbers of registered and of ended tests.
 */
import { writeFileSync } from 'node:fs';
import { suite as uvuSuite } from 'uvu';
import { apart, mark, unwind } from './cleanup.js';

/** Runs the long versions of tests: sizes and counts that take hours rather than minutes. */
export const full = process.env.CRIU_STREAMER_FULL === '1';
const inCI = process.env.CI === '1' || process.env.CI === 'true';

/** Time limit of a test: generous, for slow and busy machines; a test that reaches it hangs. */
const TEST_SECONDS = 300;
/** Time for the process to end by itself after its tests. */
const EXIT_MILLIS = 10_000;

/** The totals for test/run.ts, in the file that $CRIU_STREAMER_TOTALS names. */
export interface Totals {
	registered: number;
	passed: number;
	failed: { test: string; message: string }[];
	skipped: { test: string; reason: string }[];
}

const totals: Totals = { registered: 0, passed: 0, failed: [], skipped: [] };

class Skip extends Error {}

/** Ends the current test as skipped. In CI that is a failure, since the machine has everything that the tests need. */
export function skip(reason: string): never {
	if (inCI) throw new Error(`skipped, which CI does not accept: ${reason}`);
	throw new Skip(reason);
}

/** Ends the current test as skipped, in CI as well: for reasons that no set-up of the machine can change. */
export function skipImpossible(reason: string): never {
	throw new Skip(reason);
}

type Body = () => unknown;

/** Registers tests; `run` (once, at the end of the file) runs them in order. */
export interface Suite {
	(name: string, body: Body, options?: { seconds?: number }): void;
	before(hook: () => Promise<void> | void): void;
	after(hook: () => Promise<void> | void): void;
	run(): void;
}

/**
 * Several suites in a file run one after the other.
 *
 * @param together how many tests of it run at a time: more than one for tests that mostly wait for processes, and that look
 *   at nothing which others change, such as the descriptors of this process
 */
export function suite(name: string, { together = 1 } = {}): Suite {
	const inner = uvuSuite(name);
	const enter = sideBySide(together);
	const test = (what: string, body: Body, { seconds = TEST_SECONDS } = {}) => {
		totals.registered++;
		inner(
			what,
			enter(() => outcome(`${name}: ${what}`, body, seconds)),
		);
	};
	return Object.assign(test, { before: inner.before, after: inner.after, run: inner.run });
}

/**
 * Lets up to `together` pieces of work run at a time, in the order in which they were given. What is returned for each is
 * to be called in that order, one after the end of the other; the first call starts them.
 */
function sideBySide(together: number): (work: () => Promise<void>) => () => Promise<void> {
	if (together === 1) return (work) => work;
	const waiting: (() => void)[] = [];
	let running = 0;
	const fill = () => {
		for (; running < together && waiting.length; running++) waiting.shift()!();
	};
	return (work) => {
		let done: Promise<void> | undefined;
		waiting.push(() => {
			done = apart(work).finally(() => {
				running--;
				fill();
			});
			// An error is uvu's to report when it comes to this test.
			done.catch(() => {});
		});
		return () => {
			fill();
			// All before it have ended, so that it has been started.
			return done!;
		};
	};
}

/** Runs one test and counts its result. */
async function outcome(test: string, body: Body, seconds: number): Promise<void> {
	const start = mark();
	try {
		try {
			await limited(body, seconds);
		} finally {
			await limited(() => unwind(start), 60);
		}
		totals.passed++;
	} catch (thrown) {
		if (thrown instanceof Skip) {
			totals.skipped.push({ test, reason: thrown.message });
			return;
		}
		const error = thrown instanceof Error ? thrown : new Error(`not an Error: ${String(thrown)}`);
		totals.failed.push({ test, message: error.message });
		throw error;
	} finally {
		if (ended() === totals.registered) leave();
	}
}

async function limited(body: Body, seconds: number): Promise<void> {
	let timer: NodeJS.Timeout | undefined;
	const late = new Promise<never>((_, reject) => {
		const error = new Error(`took longer than ${seconds} seconds`);
		timer = setTimeout(() => reject(error), seconds * 1000);
	});
	try {
		await Promise.race([(async () => body())(), late]);
	} finally {
		clearTimeout(timer);
	}
}

function ended(): number {
	return totals.passed + totals.failed.length + totals.skipped.length;
}

/** Ends the process even if a test left something open. */
function leave(): void {
	const timer = setTimeout(() => {
		process.stderr.write('the tests are over, but something that they left open keeps the process: ended\n');
		process.exit(totals.failed.length ? 1 : 0);
	}, EXIT_MILLIS);
	timer.unref();
}

process.on('exit', () => {
	const path = process.env.CRIU_STREAMER_TOTALS;
	if (path) writeFileSync(path, JSON.stringify(totals));
	if (totals.failed.length || ended() !== totals.registered) process.exitCode = 1;
});

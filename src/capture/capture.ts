/** A capture: takes the image of one dump from CRIU, with files of the user's, and writes it as a stream. */
import type { CriuConnection } from '../criu/connection.js';
import type { CriuSocket } from '../criu/socket.js';
import { raiseFileLimit } from '../libc/file-limit.js';
import { peerOf } from '../net/unix-socket.js';
import type { Log } from '../report/log.js';
import { fail, failWith } from '../runtime/cancellation.js';
import { CORRECTIONS } from '../stream/corrections.js';
import type { Shard } from '../stream/shard.js';
import type { StreamSummary } from '../stream/summary.js';
import { CriuDump, type DumpJob } from './criu-dump.js';
import { sendExtFiles } from './ext-files.js';
import { ImageSender } from './image-sender.js';
import { PageTransfer } from './page-transfer.js';
import type { References } from './references.js';

/** How one dump is captured. */
export interface DumpPlan {
	/** How its pages are sent. */
	references: References;
	/**
	 * Resolves when CRIU's action script asks whether the stream is delivered: CRIU has finished the dump, and holds the application
	 * until it is answered. Undefined: CRIU has no script, or none that it runs after what it does.
	 */
	asked?: Promise<void> | undefined;
}

export interface CaptureJob extends DumpJob {
	criu: CriuSocket;
	shards: readonly Shard[];
	/** What is to be done for the CRIU that is connected on `fd`. */
	plan(fd: number): DumpPlan;
	/** Ends the capture as failed, for the signal's reason. */
	signal?: AbortSignal;
	/** Called with why pages are copied although references were asked for. */
	log: Pick<Log, 'info'>;
}

export interface Captured {
	summary: StreamSummary;
	/** Resolves when CRIU has closed its socket, which the job's signal closes too: then it rejects. */
	criuClosed: Promise<void>;
}

/**
 * Serves one dump. Resolves when the kernel has every byte of the stream; rejects, without an end of the image in the
 * stream, when anything failed.
 */
export async function capture(job: CaptureJob): Promise<Captured> {
	raiseFileLimit();
	const run = new AbortController();
	const { signal } = run;
	const image = new ImageSender(job.shards, run);
	const release = job.signal && failWith(run, job.signal);
	let criu: CriuConnection | undefined;
	let pages: PageTransfer | undefined;
	try {
		criu = await job.criu.accept(signal);
		const { references, asked } = job.plan(criu.fd);
		pages = new PageTransfer(references, asked !== undefined, peerOf(criu.fd).pid, job.log);
		sendExtFiles(job.extFiles, image);
		const captured = await captureFrom(new CriuDump(job, criu, pages, image), asked);
		captured.criuClosed.finally(() => release?.()).catch(() => {});
		return captured;
	} catch (error) {
		release?.();
		fail(run, error);
		await image.settled();
		// A task that was still deciding about a file may have raised the priority until now.
		pages?.end();
		criu?.close();
		// What the failure of a task led to here is a consequence of it.
		throw signal.reason;
	}
}

/** Ends soon after the run was aborted: everything that it waits for has the run's signal. */
async function captureFrom(dump: CriuDump, asked: DumpPlan['asked']): Promise<Captured> {
	const { criu, image, pages } = dump;
	await dump.complete();
	// Without its question the application may run on, and so change the pages that left by reference.
	if (asked) await Promise.race([asked, dump.closed.then(endedWithoutQuestion)]);
	const corrections = await pages.corrections();
	if (corrections) await image.sendBytes(CORRECTIONS, Buffer.from(corrections));
	pages.end();
	const summary = await image.end(dump.started);
	const criuClosed = dump.closed.finally(() => criu.close());
	criuClosed.catch(() => {});
	return { summary, criuClosed };
}

function endedWithoutQuestion(): never {
	throw new Error(
		'CRIU ended before its action script asked whether the stream is delivered: the dump failed after its last image, or ' +
			'the script did, and the application continues to run (the reason is in CRIU’s log)',
	);
}

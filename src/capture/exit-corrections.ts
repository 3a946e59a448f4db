/**
 * What makes references to the pages of a dying application right: while it is still stopped, the words that the kernel will
 * change as its threads end are read from its memory and sent as one more file of the image (wire/corrections.ts).
 *
 * Where they are is known from the images that have passed: each thread's core image, and the pagemap of its process. The
 * application stays stopped for as long as the action script waits for this capture, so what is read is what was dumped.
 * Pages of shared memory belong to no process, and are never sent by reference.
 */
import { closeSync } from 'node:fs';
import { exitWordsOf, readMemory, WORD } from '../criu/exit-words.js';
import { isHeldBy, openMemory, type Tracee, traceesOf } from '../criu/tracees.js';
import { threadEndOf } from '../images/core.js';
import { Pagemap } from '../images/pagemap.js';
import { turn } from '../run/turn.js';
import { type Correction, type Corrections, encodeCorrections } from '../wire/corrections.js';

const CORE = /^core-(\d+)\.img$/;
const PAGEMAP = /^pagemap-(\d+)\.img$/;
const PAGES = /^pages-(\d+)\.img$/;
/** Any kind of pagemap: the pages image that CRIU opens next belongs to it. */
const ANY_PAGEMAP = /^pagemap-/;

/** Of the images that are kept: those of a process with 10,000 threads and memory in a million pieces are smaller. */
const MAX_KEPT_BYTES = 256 << 20;

/** Of one dump. */
export class ExitCorrections {
	/** Core images and pagemaps, in the parts that they came in, by the number that the thread or process has for itself. */
	readonly #cores = new Map<number, Buffer[]>();
	readonly #pagemaps = new Map<number, Buffer[]>();
	#keptBytes = 0;
	/** Of pages images that left by reference. */
	readonly #referenced = new Set<number>();
	#tracees: Tracee[] | undefined;
	#latestPagemap = '';

	/** @param tracer the process of the dumping CRIU */
	constructor(readonly tracer: number) {}

	/**
	 * Takes note of a request of CRIU's for the file `name`. Returns whether its pages may leave by reference.
	 * @throws where the application's memory cannot be read, so that nothing may
	 */
	async mayReference(name: string): Promise<boolean> {
		if (ANY_PAGEMAP.test(name)) this.#latestPagemap = name;
		const [, id] = PAGES.exec(name) ?? [];
		if (id === undefined || !PAGEMAP.test(this.#latestPagemap)) return false;
		// CRIU stops all processes before it writes the first page.
		this.#tracees ??= await traceesOf(this.tracer);
		this.#referenced.add(Number(id));
		return true;
	}

	/** Takes the parts of the file `name`, of which each is copied; undefined: the file is not needed. */
	keeperOf(name: string): ((part: Buffer) => void) | undefined {
		const [, thread] = CORE.exec(name) ?? [];
		const [, process] = PAGEMAP.exec(name) ?? [];
		if (thread === undefined && process === undefined) return undefined;
		const parts: Buffer[] = [];
		if (thread === undefined) this.#pagemaps.set(Number(process), parts);
		else this.#cores.set(Number(thread), parts);
		return (part) => {
			this.#keptBytes += part.length;
			if (this.#keptBytes <= MAX_KEPT_BYTES) parts.push(Buffer.from(part));
		};
	}

	/**
	 * The content of the file, read from the stopped application; undefined where nothing left by reference. To be called
	 * when the image is complete, and before the action script has its answer.
	 * @throws where the words of a thread are not known, so that the image may be wrong
	 */
	async read(): Promise<Uint8Array | undefined> {
		if (!this.#referenced.size) return undefined;
		try {
			if (this.#keptBytes > MAX_KEPT_BYTES)
				throw new Error(`its core images and pagemaps have more than ${MAX_KEPT_BYTES} bytes`);
			const all: Corrections = new Map();
			for (const tracee of this.#tracees!) await this.#readProcess(tracee, all);
			this.#checkComplete();
			return encodeCorrections(all);
		} catch (cause) {
			throw new Error(
				'cannot tell what the kernel changes in the application’s pages when it ends (--zero-copy never copies them)',
				{ cause },
			);
		}
	}

	async #readProcess({ pid, ownPid, ownTids }: Tracee, all: Corrections): Promise<void> {
		const parts = this.#pagemaps.get(ownPid);
		if (!parts) throw new Error(`CRIU sent no pagemap-${ownPid}.img`);
		const pagemap = new Pagemap(Buffer.concat(parts), `pagemap-${ownPid}.img`);
		const found: Correction[] = [];
		const memory = openMemory(pid);
		try {
			for (const tid of ownTids) {
				await turn();
				found.push(...this.#readThread(memory, tid, pagemap));
			}
		} finally {
			closeSync(memory);
		}
		if (!isHeldBy(pid, this.tracer)) throw new Error(`CRIU let process ${pid} go`);
		if (this.#referenced.delete(pagemap.pagesId) && found.length)
			all.set(`pages-${pagemap.pagesId}.img`, found);
	}

	#readThread(memory: number, tid: number, pagemap: Pagemap): Correction[] {
		const parts = this.#cores.get(tid);
		if (!parts) throw new Error(`CRIU sent no core-${tid}.img`);
		this.#cores.delete(tid);
		const end = threadEndOf(Buffer.concat(parts), `core-${tid}.img`);
		const words = end ? exitWordsOf(memory, end) : [];
		return words
			.flatMap((word) => pagemap.locate(word, WORD))
			.map(({ offset, address, bytes }) => {
				const content = readMemory(memory, BigInt(address), bytes);
				if (!content) throw new Error(`${bytes} bytes at 0x${address.toString(16)} cannot be read`);
				return { offset, bytes: content };
			});
	}

	/** What is left over belongs to processes that were not found. */
	#checkComplete(): void {
		for (const [tid, parts] of this.#cores) {
			const name = `core-${tid}.img`;
			if (threadEndOf(Buffer.concat(parts), name)) throw new Error(`the thread of ${name} was not found`);
		}
		const [pages] = this.#referenced;
		if (pages !== undefined) throw new Error(`the process of pages-${pages}.img was not found`);
	}
}

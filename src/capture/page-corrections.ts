/**
 * Corrects pages that are read, or still referred to, at a time when they no longer hold what they held when the application
 * was frozen (stream/corrections.ts is how that travels). Two things are:
 *
 * - words that the kernel changes as the threads of the application die (criu/exit-words.ts). They are read when the image is
 *   complete: the application stays stopped for as long as the action script waits for this capture.
 * - code that CRIU injects for a moment (criu/injected-code.ts). What belongs there is read when CRIU is about to write the
 *   pages of the process.
 *
 * Where all this lies in the pages images is known from the pagemaps, which pass through. Pages of shared memory belong to no
 * process; they are never sent by reference.
 */
import { closeSync } from 'node:fs';
import { exitWordsOf, readMemory, WORD } from '../criu/exit-words.js';
import { type MemoryRange, overwrittenCode } from '../criu/injected-code.js';
import { isHeldBy, openMemory, type Tracee, traceesOf } from '../criu/tracees.js';
import { type ThreadEnd, threadEndOf } from '../images/core.js';
import { isPages } from '../images/names.js';
import { Pagemap } from '../images/pagemap.js';
import { PAGE } from '../libc/constants.js';
import { pageSize } from '../libc/page-size.js';
import { yieldToEventLoop } from '../runtime/yield.js';
import { type Correction, type Corrections, encodeCorrections } from '../stream/corrections.js';
import type { Keeper } from './source-file.js';

const CORE = /^core-(\d+)\.img$/;
const PAGEMAP = /^pagemap-(\d+)\.img$/;
/** Any kind of pagemap: the pages image that CRIU opens next belongs to it. */
const ANY_PAGEMAP = /^pagemap-/;

/** Of the images that are kept: those of a process with 10,000 threads and memory in a million pieces are smaller. */
const MAX_KEPT_BYTES = 256 << 20;

/** Of one dump. */
export class PageCorrections {
	/**
	 * What core images say, read as they come, since the application waits for {@link read}; undefined: the thread has ended. By the
	 * id that the thread has in its own pid namespace.
	 */
	readonly #threads = new Map<number, ThreadEnd | undefined>();
	/** A core image that could not be read. */
	#unreadable: unknown;
	/** The parts of pagemaps, by the id that the process has in its own pid namespace: decoded, they are larger. */
	readonly #pagemaps = new Map<number, Buffer[]>();
	#keptBytes = 0;
	/** By the process's number: what belongs to where CRIU injects code. Of each process whose pages were asked for. */
	readonly #code = new Map<number, MemoryRange | undefined>();
	#tracees: Tracee[] | undefined;
	#latestPagemap = '';

	/**
	 * @param tracer the process of the dumping CRIU
	 * @param referenced pages leave by reference, and an action script keeps the application stopped until {@link read} is done
	 */
	constructor(
		readonly tracer: number,
		readonly referenced: boolean,
	) {}

	/**
	 * To be called when CRIU asks for the file `name`, and before what it writes there is read. Returns whether the file is
	 * pages of a process, and none of them huge: only these may leave by reference.
	 * @throws where the application's memory cannot be read
	 */
	async requested(name: string): Promise<boolean> {
		if (ANY_PAGEMAP.test(name)) this.#latestPagemap = name;
		const [, process] = PAGEMAP.exec(this.#latestPagemap) ?? [];
		if (process === undefined || !isPages(name)) return false;
		// CRIU stops all processes before it writes the first page.
		this.#tracees ??= await traceesOf(this.tracer);
		if (pageSize() !== PAGE) throw new Error(`a pagemap counts pages of ${pageSize()} bytes here`);
		const tracee = this.#tracees.find(({ ownPid }) => ownPid === Number(process));
		if (!tracee)
			throw new Error(`the process of ${this.#latestPagemap} is not among those that CRIU has stopped`);
		const memory = openMemory(tracee.pid);
		try {
			this.#code.set(tracee.ownPid, await overwrittenCode(tracee.pid, memory));
		} finally {
			closeSync(memory);
		}
		return !tracee.hugePages;
	}

	/** Pages of a process were asked for. */
	get begun(): boolean {
		return this.#code.size > 0;
	}

	/** What keeps the file `name`; undefined: it is not needed. */
	keeperOf(name: string): Keeper | undefined {
		const [, thread] = (this.referenced && CORE.exec(name)) || [];
		const [, process] = PAGEMAP.exec(name) ?? [];
		if (thread === undefined && process === undefined) return undefined;
		const parts: Buffer[] = [];
		return {
			part: (bytes) => {
				this.#keptBytes += bytes.length;
				if (this.#keptBytes <= MAX_KEPT_BYTES) parts.push(Buffer.from(bytes));
			},
			end: () => {
				if (thread === undefined) this.#pagemaps.set(Number(process), parts);
				else this.#readThread(Number(thread), name, Buffer.concat(parts));
			},
		};
	}

	#readThread(tid: number, name: string, image: Buffer): void {
		this.#keptBytes -= image.length;
		try {
			this.#threads.set(tid, threadEndOf(image, name));
		} catch (error) {
			this.#unreadable ??= error;
		}
	}

	/**
	 * The content of the file of corrections; undefined where there is nothing to correct. To be called when the image is
	 * complete, and before the action script has its answer.
	 * @throws where something is not known, so that the image may be wrong
	 */
	async read(): Promise<Uint8Array | undefined> {
		if (this.#keptBytes > MAX_KEPT_BYTES)
			throw new Error(`the core images and pagemaps have more than ${MAX_KEPT_BYTES} bytes`);
		if (this.#unreadable) throw this.#unreadable;
		const all: Corrections = new Map();
		for (const tracee of this.#tracees ?? []) {
			if (!this.#code.has(tracee.ownPid)) continue;
			const code = this.#code.get(tracee.ownPid);
			const pagemap = this.#pagemapOf(tracee);
			const words = this.referenced ? await this.#exitWords(tracee) : [];
			const found = [...(code ? [code] : []), ...words].flatMap((range) => place(range, pagemap));
			if (found.length) all.set(`pages-${pagemap.pagesId}.img`, found);
		}
		if (this.referenced) this.#checkThreads();
		return all.size ? encodeCorrections(all) : undefined;
	}

	#pagemapOf({ ownPid }: Tracee): Pagemap {
		const name = `pagemap-${ownPid}.img`;
		const parts = this.#pagemaps.get(ownPid);
		if (!parts) throw new Error(`CRIU sent no ${name}`);
		return new Pagemap(Buffer.concat(parts), name);
	}

	/** The words of all threads of a process, as they are now. */
	async #exitWords({ pid, ownTids }: Tracee): Promise<MemoryRange[]> {
		const words: MemoryRange[] = [];
		const memory = openMemory(pid);
		try {
			for (const tid of ownTids) {
				await yieldToEventLoop();
				const addresses = exitWordsOf(memory, this.#threadEnd(tid));
				words.push(...addresses.flatMap((address) => wordAt(memory, address)));
			}
		} finally {
			closeSync(memory);
		}
		if (!isHeldBy(pid, this.tracer))
			throw new Error(`CRIU released process ${pid} before the image was complete`);
		return words;
	}

	#threadEnd(tid: number): ThreadEnd {
		const end = this.#threads.get(tid);
		this.#threads.delete(tid);
		if (!end) throw new Error(`CRIU sent no core-${tid}.img of a living thread`);
		return end;
	}

	/** Throws where an entry remains of a living thread, which was not found. */
	#checkThreads(): void {
		for (const [tid, end] of this.#threads) {
			if (end) throw new Error(`the thread of core-${tid}.img was not found`);
		}
	}
}

/** The word at `address`; none where it cannot be read: the kernel cannot write there either. */
function wordAt(memory: number, address: number): MemoryRange[] {
	const bytes = readMemory(memory, BigInt(address), WORD);
	return bytes ? [{ address, bytes }] : [];
}

/** Where the bytes of `range` are in the pages image; nowhere, where the image has not these pages. */
function place({ address, bytes }: MemoryRange, pagemap: Pagemap): Correction[] {
	return pagemap.locate(address, bytes.length).map((part) => {
		const from = part.address - address;
		return { offset: part.offset, bytes: bytes.subarray(from, from + part.bytes) };
	});
}

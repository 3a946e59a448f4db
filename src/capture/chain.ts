/**
 * The memory images of the last dump of a chain on the disk, flattened before anything is sent: a pagemap without references to a
 * parent, and which bytes of which pages images belong to it, in its order.
 */
import type { FlatRun, FlatRuns } from '../images/flat-runs.js';
import { type Extent, extentsOf, hex, overlay } from '../images/flatten.js';
import { encodePagemap, PARENT, type Pagemap } from '../images/pagemap.js';
import { PAGE } from '../libc/constants.js';
import { pageSize } from '../libc/page-size.js';
import { yieldToEventLoop } from '../runtime/yield.js';
import type { Generation } from './generation.js';

/** The pages image of one memory in one dump. */
export interface Layer {
	generation: Generation;
	pagesName: string;
}

/** The memory of a process, or shared memory, that is spread over several dumps. */
export interface FlatMemory {
	/** Of the pages image in the stream. */
	pagesName: string;
	/** The content of the pagemap. */
	pagemap: Buffer;
	/** The content of the pages image. */
	extents(): Iterable<Extent<Layer>>;
}

/**
 * The memory of the pagemap `name`, which the dump `newest` has; undefined where nothing of it is in an earlier dump.
 * @throws where pages are missing, or cannot be found
 */
export async function flatMemory(newest: Generation, name: string): Promise<FlatMemory | undefined> {
	const pagemap = newest.pagemap(name)!;
	if (!pagemap.runs.some(({ flags }) => flags & PARENT)) {
		checkSize({ generation: newest, pagesName: pagemap.pagesName }, pagemap);
		newest.forget(name);
		return undefined;
	}
	// The unit of a pagemap is a page of the machine that it was made on, which is this one as a rule.
	if (pageSize() !== PAGE)
		throw new Error(`a chain of dumps cannot be flattened where pages have ${pageSize()} bytes`);
	let flat: FlatRuns<Layer> | undefined;
	for (const generation of withPagemap(newest, name).reverse()) {
		await yieldToEventLoop();
		const own = generation.pagemap(name)!;
		if (own.compressed) throw compressed(own);
		const layer = { generation, pagesName: own.pagesName };
		checkSize(layer, own);
		flat = overlay(own.runs, layer, flat);
		generation.forget(name);
	}
	const whole = flat!;
	const lost = whole.firstMissing();
	if (lost) throw broken(lost, name);
	return {
		pagesName: pagemap.pagesName,
		pagemap: encodePagemap(pagemap, whole),
		extents: () => extentsOf(whole),
	};
}

/** `newest` and the dumps before it, as far as each knows this memory. */
function withPagemap(newest: Generation, name: string): Generation[] {
	const found: Generation[] = [];
	for (let at: Generation | undefined = newest; at?.pagemap(name); at = at.parent) found.push(at);
	return found;
}

function checkSize({ generation, pagesName }: Layer, { name, compressed, pagesBytes }: Pagemap): void {
	if (compressed || pagesBytes === 0) return;
	const size = generation.sizeOf(pagesName);
	if (size < pagesBytes)
		throw new Error(
			`${generation.path}/${pagesName} has ${size} bytes, and ${name} says that it has ${pagesBytes}: the dump is damaged`,
		);
}

function compressed({ name }: Pagemap): Error {
	return new Error(
		`${name} has compressed pages, and is part of a chain of dumps: only chains that are not compressed can be flattened`,
	);
}

function broken({ source: { generation }, address }: FlatRun<Layer>, name: string): Error {
	const { path, depth, parent, whyNoParent } = generation;
	const where =
		depth === 0 ? path : `${path}, ${depth === 1 ? 'one dump' : `${depth} dumps`} before the last`;
	let why = whyNoParent;
	if (parent)
		why = parent.pagemap(name) ? `${parent.path} does not have it` : `${parent.path} has no ${name}`;
	return new Error(
		`the chain of dumps is broken: ${name} in ${where}, leaves the page at ${hex(address)} to the dump before, and ${why}`,
	);
}

/** Chains of incremental dumps: those that a real CRIU has made, and what is in the memory that an image describes. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliDecompressSync } from 'node:zlib';
import { Pagemap, PRESENT } from '../../src/images/pagemap.js';
import { temporaryDirectory } from './temporary.js';

export const PAGE = 4096;

/** Unpacks a directory of test/fixtures; returns its path. */
export function unpack(name: string): string {
	const packed = fileURLToPath(new URL(`../fixtures/${name}.tar.br`, import.meta.url));
	const directory = temporaryDirectory();
	execFileSync('tar', ['-x', '-C', directory], { input: brotliDecompressSync(readFileSync(packed)) });
	return join(directory, name);
}

/** Pages by their addresses, as a pagemap and its pages image say: each page, or what a parent should have. */
export function pagesOf(pagemap: Buffer, pages: Buffer): Map<number, Buffer> {
	const found = new Map<number, Buffer>();
	let offset = 0;
	for (const { address, bytes, flags } of new Pagemap(pagemap, 'pagemap').runs) {
		if (!(flags & PRESENT)) throw new Error(`the page at ${address} is not in the image`);
		for (let at = 0; at < bytes; at += PAGE, offset += PAGE)
			found.set(address + at, pages.subarray(offset, offset + PAGE));
	}
	if (offset !== pages.length) throw new Error(`${pages.length - offset} bytes belong to no page`);
	return found;
}

/** What a page holds, as far as it is known. */
export interface ExpectedPage {
	address: number;
	/** The first 16 hexadecimal digits of its SHA-256. */
	sha?: string;
	/** Its content. */
	content?: Buffer;
	/** It may be absent, since it is zeros. */
	zeros: boolean;
}

interface Listed {
	addr: string;
	n: number;
	sha?: string;
	tag?: number;
	gen?: number;
	base?: string;
}

/** What the processes of a fixture had in memory when they were dumped, by pagemap. */
export function expectedOf(fixture: string): Map<string, ExpectedPage[]> {
	const { images } = JSON.parse(readFileSync(join(fixture, 'expected.json'), 'utf8')) as {
		images: { pagemap: string; pages: Listed[] }[];
	};
	return new Map(images.map(({ pagemap, pages }) => [pagemap, pages.flatMap(expand)]));
}

/** A page written by the program of the fixtures has 512 words, each with a tag, a generation, the page and the word. */
function expand({ addr, n, sha, tag, gen, base }: Listed): ExpectedPage[] {
	const start = Number(addr);
	return Array.from({ length: n }, (_, i) => {
		const address = start + i * PAGE;
		if (sha !== undefined) return { address, sha, zeros: sha === ZEROS };
		const content = Buffer.alloc(PAGE);
		const page = BigInt((address - Number(base)) / PAGE);
		const first = (BigInt(tag!) << 56n) | (BigInt(gen!) << 40n) | (page << 16n);
		if (gen)
			for (let word = 0; word < PAGE / 8; word++) content.writeBigUInt64LE(first + BigInt(word), word * 8);
		return { address, content, zeros: gen === 0 };
	});
}

/** Of a page of zeros. */
const ZEROS = 'ad7facb2586fc6e9';

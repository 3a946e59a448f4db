/**
 * A stand-in for CRIU, for machines where it cannot run: `stand-in dump DIR FILES` sends the files of a directory as if they
 * were the images of a checkpoint, `stand-in restore DIR OUT` asks for them again. DIR is the streamer's work dir.
 */
import { createReadStream, createWriteStream, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { ReadEnd } from '../test/support/pipe.js';
import { StandInDump, StandInRestore } from '../test/support/stand-in.js';

/** CRIU knows the names of its images; this one sends them along. */
const NAMES = 'names.img';
/** A dump that succeeded ends with it. */
const LAST = 'inventory.img';

async function dump(work: string, directory: string): Promise<void> {
	const names = readdirSync(directory);
	const criu = await StandInDump.connect(work);
	await criu.put(NAMES, JSON.stringify(names));
	for (const name of [...names.filter((name) => name !== LAST), LAST]) {
		const file = await criu.file(name);
		const path = join(directory, name);
		if (existsSync(path)) for await (const chunk of createReadStream(path)) await file.write(chunk);
		file.close();
	}
	criu.close();
}

async function restore(work: string, out: string): Promise<void> {
	mkdirSync(out, { recursive: true });
	const criu = await StandInRestore.connect(work);
	const names: string[] = JSON.parse(String(await criu.read(NAMES)));
	for (const name of names) {
		const file = await criu.open(name);
		if (!file) throw new Error(`the image has no ${name}`);
		await pipeline(chunksOf(file), createWriteStream(join(out, name)));
	}
	criu.close();
}

async function* chunksOf(file: ReadEnd): AsyncGenerator<Buffer> {
	for (let chunk: Buffer | undefined; (chunk = await file.take()); ) yield chunk;
	file.close();
}

const [command, work, directory] = process.argv.slice(2);
const commands = { dump, restore };
if (!work || !directory || !(command === 'dump' || command === 'restore')) {
	console.error('usage: stand-in dump WORK-DIR FILES | stand-in restore WORK-DIR OUT');
	process.exit(2);
}
try {
	await commands[command](work, directory);
} catch (error) {
	console.error(`stand-in: ${(error as Error).message}`);
	process.exit(1);
}

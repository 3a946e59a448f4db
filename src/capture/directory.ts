/**
 * The files of an images directory that is on the disk already, as a plain `criu dump` left it. inventory.img goes last, as
 * CRIU sends it.
 */
import { constants, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { LAST_IMAGE } from '../images/names.js';
import { explained } from '../libc/errno.js';
import { yieldToEventLoop } from '../runtime/yield.js';
import type { ImageSender } from './image-sender.js';

/** A link to the images directory that holds the pages which this one lacks. */
const PARENT = 'parent';

/**
 * Sends the regular files of the images directory at `path`; it may be a work directory too, with sockets. Resolves when all
 * are at their end.
 * @throws where it is not a complete image, or needs a parent's pages
 */
export async function sendDirectory(path: string, image: ImageSender): Promise<void> {
	const list = () => readdirSync(path, { withFileTypes: true });
	const entries = explained(`cannot read the images directory ${path}`, list);
	if (entries.some(({ name }) => name === PARENT))
		throw new Error(
			`${path} has a ${PARENT}: an image that lacks the pages of an earlier dump cannot be sent`,
		);
	const names = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
	if (!names.includes(LAST_IMAGE)) throw incomplete(path, `it has no ${LAST_IMAGE}`);
	const others = names.filter((name) => name !== LAST_IMAGE).sort();
	for (const name of [...others, LAST_IMAGE]) {
		await yieldToEventLoop();
		await sendOne(path, name, image);
	}
}

async function sendOne(directory: string, name: string, image: ImageSender): Promise<void> {
	const path = join(directory, name);
	const open = () => openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
	image.begin(name);
	const fd = explained(`cannot open ${path}`, open);
	await image.send({ name, fd, by: 'copy' }, (filled) => {
		if (name === LAST_IMAGE && !filled) throw incomplete(directory, `its ${LAST_IMAGE} is empty`);
	});
}

function incomplete(path: string, why: string): Error {
	return new Error(`${path} is not a complete image: ${why}, which CRIU writes last`);
}

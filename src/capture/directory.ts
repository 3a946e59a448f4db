/**
 * The files of an images directory that is on the disk already, as a plain `criu dump` left it. inventory.img goes last, as
 * CRIU sends it.
 */
import { closeSync, constants, fstatSync, openSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { LAST_IMAGE } from '../images/names.js';
import { explained } from '../libc/errno.js';
import type { ImageSender } from './image-sender.js';

/** A link to the images directory that holds the pages which this one lacks. */
const PARENT = 'parent';

/**
 * Sends the files of the images directory at `path`; other files of it (sockets, directories) are left out. Resolves when all
 * are at their end.
 * @throws where it is no complete image, or needs a parent's pages
 */
export async function sendDirectory(path: string, image: ImageSender): Promise<void> {
	const names = explained(`cannot read the images directory ${path}`, () => readdirSync(path)).sort();
	if (names.includes(PARENT))
		throw new Error(
			`${path} has a ${PARENT}: an image that lacks the pages of an earlier dump cannot be sent yet`,
		);
	if (!names.includes(LAST_IMAGE))
		throw new Error(`${path} is no complete image: it has no ${LAST_IMAGE}, which CRIU writes last`);
	for (const name of [...names.filter((each) => each !== LAST_IMAGE), LAST_IMAGE])
		await sendOne(path, name, image);
}

async function sendOne(directory: string, name: string, image: ImageSender): Promise<void> {
	const path = join(directory, name);
	// What is no file is not waited for either: a FIFO would block.
	const open = () => openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
	const fd = explained(`cannot open ${path}`, open);
	if (!fstatSync(fd).isFile()) return closeSync(fd);
	image.begin(name);
	await image.send({ name, fd, by: 'copy' });
}

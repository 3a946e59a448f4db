/** Files of the user's, given by their descriptors, as files of the image. */
import { dup } from '../libc/calls.js';
import { throwIfError } from '../libc/errno.js';
import { isPipe, setNonBlocking } from '../libc/pipes.js';
import type { ExtFile } from '../stream/ext-file.js';
import type { ImageSender } from './image-sender.js';

/** Starts to send what the descriptors hold, of which the caller keeps its own. */
export function sendExtFiles(files: readonly ExtFile[], image: ImageSender): void {
	for (const { name, fd } of files) {
		image.begin(name);
		const own = throwIfError(dup(fd), `cannot read ${name} from fd ${fd}: is it open?`);
		setNonBlocking(own);
		// Nothing else reads or changes the content of a pipe that the user gives; a file may change.
		image.start(image.send({ name, fd: own, by: isPipe(own) ? 'reference' : 'copy' }));
	}
}

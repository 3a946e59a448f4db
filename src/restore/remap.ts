/** Other listening ports for a held image. */
import { remapListeningPorts } from '../criu/listening-ports.js';
import { FILES } from '../images/names.js';
import { BufferFile } from '../stores/buffer-file.js';
import { MAX_WHOLE_FILE } from '../stores/held.js';
import type { Image, ReadableFile } from '../stream/image.js';

/** Changes listening ports, old to new, in the files.img of `image`. Throws where it, or an old port, is not there. */
export function remapHeld(image: Image<ReadableFile>, ports: ReadonlyMap<number, number>): void {
	const file = image.file(FILES);
	if (!file) throw new Error(`cannot change listening ports: the image has no ${FILES}`);
	if (file.size > MAX_WHOLE_FILE) throw new Error(`cannot change listening ports: ${FILES} is too large`);
	const content = Buffer.allocUnsafe(file.size);
	if (file.readAt(0, content) !== file.size)
		throw new Error(`cannot change listening ports: ${FILES} cannot be read`);
	image.add(new BufferFile(FILES, remapListeningPorts(content, ports)));
}

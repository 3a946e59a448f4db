/** The content of a stored file, as CRIU would get it. */
import type { ReadableFile } from '../../src/stream/image.js';
import { pipe } from './pipe.js';

export async function contentOf(file: ReadableFile): Promise<Buffer> {
	const { readEnd, writeEnd } = pipe();
	const reading = readEnd.all();
	const reader = file.open();
	for (let sent = 1; sent !== 0; ) {
		sent = reader.send(writeEnd.fd, 1 << 20);
		if (sent < 0) await writeEnd.writable();
	}
	reader.close();
	writeEnd.close();
	return reading;
}

/** Names of image files come from outside, become paths, and must never lead out of the images directory. */
import { MAX_NAME_BYTES } from './limits.js';

/** Throws unless `name`, which came from `sender`, is a plain file name. */
export function checkImageName(name: string, sender: string): string {
	const wrong = flaw(name);
	if (wrong) throw new Error(`${sender} sent the file name ${quoteName(name)}, which ${wrong}`);
	return name;
}

/** For messages: JSON quotes make control characters and emptiness visible. */
export function quoteName(name: string): string {
	return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}

function flaw(name: string): string | undefined {
	if (name === '') return 'is empty';
	if (name === '.' || name === '..') return 'is a directory';
	if (name.startsWith('/')) return 'is an absolute path';
	if (name.includes('/')) return 'holds a slash';
	if (name.includes('\0')) return 'holds a NUL';
	if (name.includes('\ufffd')) return 'is not UTF-8';
	if (Buffer.byteLength(name) > MAX_NAME_BYTES) return `is longer than ${MAX_NAME_BYTES} bytes`;
	return undefined;
}

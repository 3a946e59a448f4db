/** The secret of --token-file. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** Far more than a secret needs, and well within the size of a message. */
const MAX_TOKEN_BYTES = 4096;
/** The permission bits of all users but the owner. */
const OTHERS = 0o077;

/**
 * The secret in the file `path`, without the line end that editors add. Throws where the file is not a valid token, or
 * accessible to other users.
 */
export function readToken(path: string): Buffer {
	let fd: number;
	try {
		fd = openSync(path, 'r');
	} catch (cause) {
		throw new Error(`--token-file cannot be read: ${path}`, { cause });
	}
	try {
		const stat = fstatSync(fd);
		if (stat.isDirectory()) throw new Error(`--token-file ${path} is a directory`);
		if (stat.isFile() && stat.mode & OTHERS)
			throw new Error(`--token-file ${path} is open to others than its owner: chmod 600 ${path}`);
		const bytes = Buffer.alloc(MAX_TOKEN_BYTES + 2);
		let length = 0;
		for (let count: number; (count = readSync(fd, bytes, length, bytes.length - length, null)) > 0; )
			length += count;
		const text = bytes.subarray(0, length);
		const end = text.at(-1) === 0x0a ? (text.at(-2) === 0x0d ? -2 : -1) : text.length;
		const token = text.subarray(0, end);
		if (!token.length)
			throw new Error(`--token-file ${path} is empty: head -c 32 /dev/urandom | base64 makes a token`);
		if (token.length > MAX_TOKEN_BYTES)
			throw new Error(`--token-file ${path} is longer than ${MAX_TOKEN_BYTES} bytes`);
		return token;
	} finally {
		closeSync(fd);
	}
}

/** Directories that are removed at the end of a test. */
import { accessSync, constants, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterwards } from './cleanup.js';

/** A new empty directory, removed with its content when the test ends. */
export function temporaryDirectory(): string {
	return directoryIn(tmpdir());
}

/**
 * {@link temporaryDirectory}, in memory where the machine has `bytes` of room there: for tests of whose files only the number
 * matters, which a disk takes long to remove.
 */
export function memoryDirectory(bytes: number): string {
	return directoryIn(hasRoom('/dev/shm', bytes) ? '/dev/shm' : tmpdir());
}

function directoryIn(place: string): string {
	const directory = mkdtempSync(join(place, 'criu-streamer-test-'));
	afterwards(() => rmSync(directory, { recursive: true, force: true }));
	return directory;
}

function hasRoom(place: string, bytes: number): boolean {
	try {
		accessSync(place, constants.W_OK);
		const { bavail, bsize } = statfsSync(place);
		return bavail * bsize > bytes;
	} catch {
		return false;
	}
}

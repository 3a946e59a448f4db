/** Folders that are gone when the test is. */
import { accessSync, constants, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterwards } from './cleanup.js';

/** A new empty folder, removed with all that is in it when the test ends. */
export function temporaryFolder(): string {
	return folderIn(tmpdir());
}

/**
 * {@link temporaryFolder}, in memory where the machine has `bytes` of room there: for tests of whose files only the number
 * matters, which a disk takes long to remove.
 */
export function memoryFolder(bytes: number): string {
	return folderIn(hasRoom('/dev/shm', bytes) ? '/dev/shm' : tmpdir());
}

function folderIn(place: string): string {
	const folder = mkdtempSync(join(place, 'criu-streamer-test-'));
	afterwards(() => rmSync(folder, { recursive: true, force: true }));
	return folder;
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

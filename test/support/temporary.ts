/** Directories that are removed at the end of a test. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterwards } from './cleanup.js';

/** A new empty directory, removed with its content when the test ends. */
export function temporaryDirectory(): string {
	const directory = mkdtempSync(join(tmpdir(), 'criu-streamer-test-'));
	afterwards(() => rmSync(directory, { recursive: true, force: true }));
	return directory;
}

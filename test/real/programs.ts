/** The applications of programs/, compiled at their first use, and the CRIU that dumps them. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { type Found, findCriu } from '../../examples/find-criu.js';
import { skip } from '../support/suite.js';
import { tool } from '../support/tools.js';

/** A directory for the duration of the test file: the compiled applications, and the streamer under its name for users. */
export const tools = mkdtempSync(join(tmpdir(), 'criu-streamer-tools-'));
process.on('exit', () => rmSync(tools, { recursive: true, force: true }));
symlinkSync(fileURLToPath(new URL('../../dist/bin.js', import.meta.url)), join(tools, 'criu-image-streamer'));

const found = new Map<string, Found>();

/** The path of a CRIU; skips the test where there is none that can run. */
export function criuOrSkip(suite: 'sid' | 'experimental' = 'sid'): string {
	let criu = found.get(suite);
	if (!criu) found.set(suite, (criu = findCriu(suite)));
	return 'path' in criu ? criu.path : skip(criu.why);
}

export type Program =
	| 'threads'
	| 'tree'
	| 'listener'
	| 'generations'
	| 'hugetlb'
	| 'dying'
	| 'dying-musl'
	| 'snapshot';

/** The path of a program from programs/, compiled at its first use; skips the test where there is no compiler. */
export function program(name: Program): string {
	const path = join(tools, name);
	if (existsSync(path)) return path;
	const [source, libc] = name.split('-');
	const compiler = tool(libc === 'musl' ? 'musl-gcc' : 'cc');
	const file = fileURLToPath(new URL(`programs/${source}.c`, import.meta.url));
	const cc = spawnSync(compiler, ['-O1', '-pthread', '-o', path, file], { encoding: 'utf8' });
	assert.is(cc.status, 0, cc.stderr);
	return path;
}

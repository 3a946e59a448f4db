/** The package as it is installed: unpacked from the tarball that npm makes, beside its dependencies. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** Time limit for a command that takes a second or two. */
const TIMEOUT_MILLIS = 120_000;

/**
 * A new directory in which a program can import the package; the caller removes it. The dependencies are linked, because npm
 * would fetch them.
 */
export function installed(): string {
	const directory = mkdtempSync(join(tmpdir(), 'criu-streamer-test-'));
	const modules = join(directory, 'node_modules');
	const target = join(modules, 'criu-pipe-streamer');
	mkdirSync(target, { recursive: true });
	// dist/ exists already: npm's own script would rebuild it while other tests use it.
	const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', directory];
	const options = { cwd: root, timeout: TIMEOUT_MILLIS, encoding: 'utf8' } as const;
	const [{ filename }] = JSON.parse(execFileSync('npm', pack, { ...options, stdio: 'pipe' }));
	execFileSync('tar', ['-xzf', join(directory, filename), '-C', target, '--strip-components=1'], options);
	const { dependencies } = JSON.parse(readFileSync(join(target, 'package.json'), 'utf8'));
	for (const name of Object.keys(dependencies)) link(modules, name);
	return directory;
}

/** Links a package of the checkout into `modules`. */
export function link(modules: string, name: string): void {
	const target = join(modules, name);
	mkdirSync(join(target, '..'), { recursive: true });
	symlinkSync(join(root, 'node_modules', name), target);
}

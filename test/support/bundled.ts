/** Programs of tests that run many times: a bundle starts in a fraction of the time that tsx takes. */
import { mkdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';

/** In the checkout, so that Node finds the packages. */
const cache = fileURLToPath(new URL('../../.cache/bundled', import.meta.url));

/** The path of a bundle of the program `source`, which has to find nothing by its own place. It goes with this process. */
export function bundled(source: string): string {
	mkdirSync(cache, { recursive: true });
	const outfile = join(cache, `${process.pid}-${basename(source, '.ts')}.mjs`);
	buildSync({
		entryPoints: [source],
		outfile,
		bundle: true,
		format: 'esm',
		platform: 'node',
		packages: 'external',
		logLevel: 'warning',
	});
	process.on('exit', () => rmSync(outfile, { force: true }));
	return outfile;
}

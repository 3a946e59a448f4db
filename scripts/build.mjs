// Makes dist/ from src/: the code of proto/ first, then a bundle per bin. A bundle starts in two thirds of the time of
// a tree of modules, and what starts a streamer late keeps an application frozen.
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
process.chdir(root);
const require = createRequire(import.meta.url);

/** Modules of static code: what the action script loads while an application is frozen is kept small. */
const MODULES = {
	messages: ['image', 'criu', 'control', 'link'],
	images: ['images', 'corrections'],
};

/** Static code and types from proto/*.proto, as src/proto/*.js. */
export function generate() {
	mkdirSync('src/proto', { recursive: true });
	const bin = (name) => require.resolve(`protobufjs-cli/bin/${name}`);
	const style = ['--no-create', '--no-verify', '--no-convert', '--no-delimited', '--no-beautify'];
	for (const [module, names] of Object.entries(MODULES)) {
		const protos = names.map((name) => `proto/${name}.proto`);
		const to = `src/proto/${module}`;
		execFileSync(process.execPath, [
			...[bin('pbjs'), '-t', 'static-module', '-r', module, '-w', 'es6', '--es6', '--keep-case', ...style],
			...['-o', `${to}.js`, ...protos],
		]);
		execFileSync(process.execPath, [bin('pbts'), '-o', `${to}.d.ts`, `${to}.js`]);
	}
}

/** dist/, made new. */
export async function bundle() {
	rmSync('dist', { recursive: true, force: true });
	await bundleOf(['src/bin.ts', 'src/hook.ts']);
	// What is imported by a call must not be loaded before it: koffi, the poll set and its descriptor are in a file of their own.
	await bundleOf(['src/index.ts'], { splitting: true, chunkNames: 'api/[name]-[hash]' });
	await declare('src/index.ts');
	for (const file of ['bin', 'hook']) chmodSync(`dist/${file}.js`, 0o755);
}

async function bundleOf(entryPoints, options) {
	await build({
		...options,
		entryPoints,
		outdir: 'dist',
		bundle: true,
		format: 'esm',
		platform: 'node',
		target: 'node20.19',
		minify: !process.env.PLAIN,
		external: ['koffi'],
		alias: { 'string-width': './scripts/string-width.mjs', long: './scripts/no-long.cjs' },
		// CommonJS packages in the bundle ask for Node's own modules by require.
		banner: {
			js: "import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);",
		},
		logLevel: 'warning',
	});
}

/** The types of `entry` in dist/, with those that they name: all that is exported there has its type written out. */
async function declare(entry) {
	const { default: ts } = await import('typescript');
	const compilerOptions = { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.NodeNext };
	const done = new Set();
	const todo = [entry];
	for (let file = todo.pop(); file; file = todo.pop()) {
		if (done.has(file)) continue;
		done.add(file);
		const { outputText, diagnostics } = ts.transpileDeclaration(readFileSync(file, 'utf8'), {
			fileName: file,
			compilerOptions,
			reportDiagnostics: true,
		});
		if (diagnostics?.length)
			throw new Error(`${file}: ${ts.flattenDiagnosticMessageText(diagnostics[0].messageText, ' ')}`);
		const to = file.replace(/^src/, 'dist').replace(/\.ts$/, '.d.ts');
		mkdirSync(dirname(to), { recursive: true });
		writeFileSync(to, outputText);
		for (const [, name] of outputText.matchAll(/from '(\.[^']+)\.js'/g))
			todo.push(join(dirname(file), `${name}.ts`));
	}
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	generate();
	await bundle();
}

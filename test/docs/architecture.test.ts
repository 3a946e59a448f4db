/** The table of directories in docs/ARCHITECTURE.md is what the imports are: each directory imports from those below it alone. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { suite } from '../support/suite.js';

const test = suite('docs/ARCHITECTURE.md');
const root = fileURLToPath(new URL('../..', import.meta.url));
const document = readFileSync(join(root, 'docs/ARCHITECTURE.md'), 'utf8');

/** From the top down, as the table has them. */
const table = [...document.matchAll(/^\| `([\w.-]+?)\/?` \|/gm)].map(([, name]) => name!);
const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((name) =>
	/(?<!\.d)\.ts$/.test(name),
);
const IMPORT = /(?:\bfrom|\bimport\(|^import)\s*'(\.[^']+)'/gm;

/** The directory of a file of src, or its name where it lies at the top. */
function placeOf(path: string): string {
	return path.split('/')[0]!;
}

function importsOf(path: string): string[] {
	if (path.startsWith('proto/')) return [];
	const text = readFileSync(join(root, 'src', path), 'utf8');
	return [...text.matchAll(IMPORT)]
		.map(([, target]) => normalize(join(dirname(path), target!)))
		.filter((target) => !target.startsWith('..'));
}

test('every directory has its line', () => {
	const places = new Set(sources.map(placeOf));
	// Made by the build.
	places.add('proto');
	assert.equal([...table].sort(), [...places].sort());
});

for (const path of sources) {
	test(`${path} imports only from below`, () => {
		const own = table.indexOf(placeOf(path));
		for (const target of importsOf(path)) {
			const place = placeOf(target);
			if (place !== placeOf(path)) assert.ok(table.indexOf(place) > own, `${target} is not below`);
		}
	});
}

test('every file that the document names is there', () => {
	for (const [, path] of document.matchAll(/`((?:[\w-]+\/)+[\w-]+\.ts)`/g))
		assert.ok(existsSync(join(root, 'src', path!)) || existsSync(join(root, path!)), path);
});

test('no file imports itself by way of others', () => {
	const done = new Set<string>();
	const visit = (path: string, way: string[]) => {
		assert.not.ok(way.includes(path), [...way, path].join(' → '));
		if (done.has(path)) return;
		for (const target of importsOf(path)) visit(target.replace(/\.js$/, '.ts'), [...way, path]);
		done.add(path);
	};
	// What the build generates imports nothing of ours.
	for (const path of sources) if (!path.startsWith('proto/')) visit(path, []);
});

test.run();

// docs/cli.md has an example of every option and every command, and no example with an unknown option.
import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { definitions } from '../../src/options/definitions.js';
import { suite } from '../support/suite.js';

const test = suite('docs/cli.md');
const text = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8');
const examples = [...text.matchAll(/^```sh\n(.*?)^```/gms)].map(([, code]) => code!).join('');
const ours = examples.split('\n').filter((line) => line.includes('criu-image-streamer'));

test('every option has an example', () => {
	const used = new Set(ours.flatMap((line) => line.match(/--[a-z-]+/g) ?? []));
	assert.equal(
		Object.keys(definitions).filter((name) => !used.has(`--${name}`)),
		[],
	);
});

test('every option and its short name are described', () => {
	for (const [name, { alias }] of Object.entries(definitions)) {
		const head = alias ? `-${alias}, --${name}` : `--${name}`;
		assert.match(text, new RegExp(`\\*\\*.*\`[^\`]*${head}[ \`].*\\*\\*`), head);
	}
});

test('examples use only options that exist', () => {
	const known = new Set([...Object.keys(definitions), 'stream', 'tree', 'images-dir']);
	for (const line of ours) {
		for (const [, name] of line.matchAll(/ --([a-z-]+)/g)) assert.ok(known.has(name!), `--${name}: ${line}`);
	}
});

test.run();

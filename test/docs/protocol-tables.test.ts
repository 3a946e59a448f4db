/** docs/protocol.md: its figures are those of the sources, its fields those of proto/, and each rejection has its test. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { suite } from '../support/suite.js';

const test = suite('docs/protocol.md, its tables');
const root = fileURLToPath(new URL('../..', import.meta.url));
const document = readFileSync(join(root, 'docs/protocol.md'), 'utf8');

const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
	.filter((name) => name.endsWith('.ts') && !name.startsWith('proto/'))
	.map((name) => readFileSync(join(root, 'src', name), 'utf8'));

/** The values of the constants called `name`: a product or shift of numbers and other constants. */
function valuesOf(name: string): number[] {
	const definition = new RegExp(`^(?:export )?const ${name} = ([\\w *<]+);`, 'm');
	return sources.flatMap((text) => {
		const value = definition.exec(text)?.[1];
		return value === undefined ? [] : [evaluate(value)];
	});
}

function evaluate(expression: string): number {
	const [left, operator, right] = expression.split(/ (\*|<<) /);
	const number = /^\d/.test(left!) ? Number(left!.replaceAll('_', '')) : valuesOf(left!)[0]!;
	if (operator === undefined) return number;
	return operator === '*' ? number * evaluate(right!) : number << evaluate(right!);
}

const limits = [...document.matchAll(/^\| ([^|]+) \| ([^|]+) \| `([A-Z_]+)` \|$/gm)];

for (const [, what, value, constant] of limits) {
	test(`the limit of ${constant}: ${what}`, () => {
		const documented = Number(
			value!
				.match(/[\d,]+/g)!
				.at(-1)!
				.replaceAll(',', ''),
		);
		assert.ok(
			valuesOf(constant!).includes(documented),
			`${constant} is ${valuesOf(constant!).join(' and ')}`,
		);
	});
}

test('the document has limits', () => assert.ok(limits.length > 20));

for (const name of ['criu', 'image', 'corrections', 'control', 'link']) {
	test(`every field of proto/${name}.proto is described`, () => {
		const proto = readFileSync(join(root, 'proto', `${name}.proto`), 'utf8');
		for (const [, field, number] of proto.matchAll(/(\w+) = (\d+);/g))
			assert.ok(document.includes(`\`${field}\` = ${number}`), `${field} = ${number}`);
	});
}

test('every rejected input has a test', () => {
	const rows = document.split('\n').filter((line) => /\| `test\//.test(line));
	assert.ok(rows.length > 30);
	for (const row of rows) {
		const path = /\| `(test\/[\w/-]+\.test\.ts)` \|$/.exec(row)?.[1];
		assert.ok(path && existsSync(join(root, path)), row);
	}
});

test.run();

// The constants of src/libc equal those of the headers of this machine.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import * as constants from '../../src/libc/constants.js';
import * as errno from '../../src/libc/errno.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { need } from '../support/tools.js';

const test = suite('constants');

const headers = [
	'errno.h',
	'fcntl.h',
	'netinet/in.h',
	'netinet/tcp.h',
	'stdio.h',
	'sys/epoll.h',
	'sys/ioctl.h',
	'sys/mman.h',
	'sys/resource.h',
	'sys/socket.h',
	'time.h',
	'linux/net.h',
	'linux/sockios.h',
	'linux/vm_sockets.h',
];
/** An assumption of this program, not a constant of the kernel. */
const OWN = ['PAGE'];

/** All numbers that a module exports, by their names in C. */
function numbersOf(module: Record<string, unknown>): Map<string, number> {
	const numbers = Object.entries(module).filter(
		(entry): entry is [string, number] => typeof entry[1] === 'number' && !OWN.includes(entry[0]),
	);
	return new Map(numbers);
}

/** The values of the names for the C compiler, as signed 32 bits. */
function asCompiled(names: Iterable<string>): Map<string, number> {
	const directory = temporaryDirectory();
	const lines = [...names].map((name) => `printf("${name} %d\\n", (int)${name});`);
	const source = [
		'#define _GNU_SOURCE',
		...headers.map((header) => `#include <${header}>`),
		'int main(void) {',
		...lines,
		'}',
	];
	writeFileSync(join(directory, 'constants.c'), source.join('\n'));
	execFileSync('gcc', ['-w', '-o', 'constants', 'constants.c'], { cwd: directory, timeout: 60_000 });
	const printed = execFileSync(join(directory, 'constants'), { encoding: 'utf8', timeout: 10_000 });
	const pairs = printed
		.trim()
		.split('\n')
		.map((line) => line.split(' '));
	return new Map(pairs.map(([name, value]) => [name!, Number(value)]));
}

for (const [what, module] of [
	['constants.ts', constants],
	['errno.ts', errno],
] as const) {
	test(`every number in ${what} equals that of the headers`, () => {
		need('gcc');
		const ours = numbersOf(module);
		assert.ok(ours.size > 10, 'the module exports its numbers');
		const theirs = asCompiled(ours.keys());
		for (const [name, value] of ours) assert.is(value | 0, theirs.get(name), name);
	});
}

test.run();

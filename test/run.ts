/**
 * `npm test [-- PART…]`: runs test/**\/*.test.ts, or those whose path has one of the parts, one file after the other:
 * some of them measure times and memory, and a suite that does not says itself how many of its tests run at a time
 * (support/suite.ts). At the end it lists the time of each file, slowest first; the last line is `N passed, N failed`.
 */
import { readdirSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type FileResult, killAll, runFile } from './support/runner.js';

const FULL = process.env.CRIU_STREAMER_FULL === '1';
/** Time limit of one file: several times that of the slowest on a slow machine. */
const FILE_SECONDS = FULL ? 6 * 3600 : 1500;

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
	process.on(signal, () => {
		killAll();
		process.exit(128 + constants.signals[signal]);
	});
}

const parts = process.argv.slice(2);
const files = readdirSync('test', { recursive: true, encoding: 'utf8' })
	.map((name) => join('test', name))
	.filter((name) => name.endsWith('.test.ts') && !name.split('/').includes('node_modules'))
	.filter((name) => !parts.length || parts.some((part) => name.includes(part)))
	.sort();

function report({ file, seconds, passed, skipped, failures, output }: FileResult): void {
	const counts = [`${passed} passed`];
	if (skipped.length) counts.push(`${skipped.length} skipped`);
	if (failures.length) counts.push(`${failures.length} failed`);
	const time = secondsOf(seconds);
	console.log(`${failures.length ? 'FAIL' : 'ok  '} ${time}  ${file}: ${counts.join(', ')}`);
	if (!failures.length) return;
	for (const line of output.split('\n')) console.log(`    | ${line}`);
	for (const failure of failures) console.log(`    ${failure}`);
}

function secondsOf(seconds: number): string {
	return `${seconds.toFixed(1)} s`.padStart(8);
}

const results: FileResult[] = [];
for (const file of files) {
	const result = await runFile(file, FILE_SECONDS);
	report(result);
	results.push(result);
}

const skipped = results.flatMap((result) => result.skipped);
const failures = results.flatMap((result) => result.failures);
if (!files.length) failures.push(`no test file has ${parts.join(' or ') || '.test.ts'} in its path`);
let passed = 0;
for (const result of results) passed += result.passed;
if (!passed && !failures.length) failures.push('not one test passed');

if (skipped.length) console.log(`\n${skipped.length} skipped:`);
for (const { test, reason } of skipped) console.log(`  ${test}: ${reason}`);
if (failures.length) console.log(`\n${failures.length} failed:`);
for (const failure of failures) console.log(`  ${failure}`);
if (results.length) console.log('\ntime of each file, slowest first:');
for (const { file, seconds } of [...results].sort((a, b) => b.seconds - a.seconds))
	console.log(`  ${secondsOf(seconds)}  ${file}`);
console.log(`\n${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length ? 1 : 0;

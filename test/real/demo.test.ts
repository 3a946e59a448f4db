/** The demo, as `npm run demo` starts it. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { criuOrSkip } from './programs.js';

const test = suite('the demo');

/** Its output; it must succeed, and leave nothing in the directory for temporary files. */
function demo(criu: string): string {
	const TMPDIR = temporaryDirectory();
	const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', 'examples/demo.ts'], {
		encoding: 'utf8',
		env: { ...process.env, CRIU: criu, TMPDIR },
		timeout: 280_000,
	});
	assert.is(status, 0, stdout + stderr);
	const left = readdirSync(TMPDIR).filter((name) => name.startsWith('criu-streamer'));
	assert.equal(left, []);
	return stdout;
}

test('with CRIU', () => {
	assert.match(demo(criuOrSkip()), /is back and counts on: \d+ \d+ \d+/);
});

test('with the stand-in, where CRIU cannot run', () => {
	assert.match(demo('/bin/false'), /\/bin\/false does not start.*no difference in 3 files/s);
});

test.run();

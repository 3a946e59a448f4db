// A dump to a page server gives a stream without memory: the user is warned, and the dump continues.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { appears, CAPTURE } from '../daemon/service.js';
import { afterwards } from '../support/cleanup.js';
import { startCapture } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { until } from '../support/until.js';

const test = suite('page server');
const WARNING =
	/CRIU has --page-server: the memory of the application goes there, and this stream holds none of it/;

/**
 * A process with the command line of a CRIU, connected to the capture; returns a function that ends it, which fails the
 * capture.
 */
async function criu(work: string, ...args: string[]): Promise<() => void> {
	await appears(work, CAPTURE);
	const code = 'require("node:net").connect(process.argv.at(-1))';
	const child = spawn(process.execPath, ['-e', code, 'dump', '--stream', ...args, join(work, CAPTURE)], {
		argv0: 'criu',
		stdio: 'inherit',
	});
	const end = () => child.kill('SIGKILL');
	afterwards(end);
	return end;
}

test('there is a warning on stderr', async () => {
	const { process, work } = startCapture();
	const end = await criu(work, '--page-server', '--address', '127.0.0.1', '--port', '7000');
	await until('the warning', () => WARNING.test(process.stderr));
	end();
	assert.match(await process.ends(1), /^criu-image-streamer: warning: CRIU has --page-server/m);
});

test('with a log file the warning is in it', async () => {
	const { process, work } = startCapture({ args: ['--log-file', 'log'] });
	const end = await criu(work, '--page-server');
	const log = join(work, 'log');
	await until('the warning', () => existsSync(log) && WARNING.test(readFileSync(log, 'utf8')));
	end();
	assert.not.match(await process.ends(1), WARNING);
});

test('without a page server there is no warning', async () => {
	const { process, work } = startCapture({ args: ['-v3'] });
	const end = await criu(work, '--port', '7000');
	await until('the message about the dump', () => /info: (moving|copying) pages/.test(process.stderr));
	end();
	assert.not.match(await process.ends(1), /page-server/);
});

test.run();

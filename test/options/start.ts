/** Commands that are refused at their start. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { type End, pipe } from '../support/pipe.js';
import { ours, type Program, Streamer } from '../support/streamer.js';
import { skip } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';

export interface Case {
	args: readonly string[];
	/** The exit status: 2 for wrong usage, 1 for the state of the machine. */
	code: 1 | 2;
	/** The current directory of the command; a new directory if absent. */
	cwd?: string;
	fds?: readonly End[];
	program?: Program;
}

/**
 * The error of a command that is refused at its start. Its stdin stays open without input, so it is refused before it reads
 * a stream, and nothing may have been created in its current directory.
 */
export async function refusalOf({
	args,
	code,
	cwd = temporaryDirectory(),
	fds = [],
	program,
}: Case): Promise<string> {
	const before = everythingIn(cwd);
	const [stdin, stdout] = [pipe(), pipe()];
	const streamer = new Streamer(args, {
		cwd,
		fds,
		stdin: stdin.readEnd,
		stdout: stdout.writeEnd,
		...(program && { program }),
	});
	const message = await streamer.ends(code);
	assert.equal(everythingIn(cwd), before, 'nothing is left behind');
	const help = code === 2 ? "Try 'criu-image-streamer --help'.\n" : '';
	assert.match(message, /^criu-image-streamer: [^\n]+\n/);
	assert.is(message.slice(message.indexOf('\n') + 1), help, 'one line has the reason');
	return message.slice('criu-image-streamer: '.length, message.indexOf('\n'));
}

function everythingIn(directory: string): string[] {
	return readdirSync(directory, { recursive: true }).map(String).sort();
}

/** The command without root's capability to write where the mode of a directory forbids it. */
export function withoutCapabilities(): Program {
	if (process.getuid!() !== 0) return ours;
	const drop = ['setpriv', '--inh-caps=-all', '--bounding-set=-all'] as const;
	if (spawnSync(drop[0], [...drop.slice(1), 'true']).status !== 0)
		skip('root cannot give its capabilities up: setpriv is not installed, or not permitted');
	return [...drop, ...ours];
}

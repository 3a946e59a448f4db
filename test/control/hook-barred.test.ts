/** A control socket that exists and cannot be connected to: the script fails without waiting. */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { HOOK } from '../support/streamer.js';
import { skipImpossible, suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';
import { run, Script } from './script.js';
import { controlServer } from './servers.js';

const test = suite('a control socket without access for the script');
const SOCKET = 'streamer-capture-control.sock';
/** The user `nobody` on most systems. */
const UID = 65534;

/** A script of another user, in a copy of the package that this user may read. */
function scriptOfAnother(): (action: string, dir: string) => Script {
	const as = { uid: UID, gid: UID };
	if (process.getuid!() !== 0 || spawnSync(process.execPath, ['-e', '0'], as).status !== 0)
		skipImpossible('only root can start processes of another user, and that must be able to run Node');
	const copy = temporaryDirectory();
	chmodSync(copy, 0o755);
	cpSync(dirname(HOOK), join(copy, 'scripts'), { recursive: true });
	cpSync(join(dirname(HOOK), '../dist'), join(copy, 'dist'), { recursive: true });
	return (action, dir) => new Script(action, dir, {}, join(copy, 'scripts/criu-streamer-hook'), as);
}

test('a socket of another user: the script fails at once, and names the owner', async () => {
	const script = scriptOfAnother();
	const dir = temporaryDirectory();
	chmodSync(dir, 0o755);
	controlServer(dir).criuSocketReady();
	const reason = [
		new RegExp(`${join(dir, SOCKET)}: permission denied \\(EACCES\\)`),
		/belongs to root \(uid 0\)/,
		/runs as .*uid 65534/,
		/run CRIU and the streamer as the same user/,
	];
	await script('pre-stream', dir).fails(...reason);
	await script('post-dump', dir).fails(...reason, /goes on running/);
});

test('in a directory of another user', async () => {
	const script = scriptOfAnother();
	const dir = join(temporaryDirectory(), 'work');
	chmodSync(dirname(dir), 0o755);
	mkdirSync(dir, { mode: 0o700 });
	await script('pre-stream', dir).fails(
		/cannot enter the images directory .*\/work: permission denied \(EACCES\)/,
		/belongs to root \(uid 0\)/,
		/as the same user/,
	);
});

test('any other error of the connection is a failure at once, too', async () => {
	const dir = temporaryDirectory();
	symlinkSync(SOCKET, join(dir, SOCKET));
	await run('pre-stream', dir).fails(/ELOOP/);
	await run('post-dump', dir).fails(/ELOOP/, /goes on running/);
});

test.run();

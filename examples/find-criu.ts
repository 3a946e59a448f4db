/** A CRIU that works here, for the demo and the tests: $CRIU, or the one that is installed, or one from Debian's archive. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A command of CRIU and its version, as 4.2.1; or why there is none. */
export type Found = { path: string; version: string } | { why: string };

/** Older ones from a package miss the vDSO of current kernels, or machines without hardware breakpoints. */
const OLDEST_INSTALLED = [4, 2] as const;
const CHECK_MILLIS = 60_000;
/** get-criu.sh gives up by itself before; another call of it may work first. */
const GET_MILLIS = 1_200_000;

/**
 * Finds CRIU, or gets Debian's into .cache/ of this checkout.
 * @param suite of Debian; `experimental` has the newest CRIU, and $CRIU_EXPERIMENTAL names it where it is at hand
 */
export function findCriu(suite: 'sid' | 'experimental' = 'sid'): Found {
	if (process.getuid?.() !== 0) return { why: 'CRIU needs root' };
	const variable = suite === 'sid' ? 'CRIU' : 'CRIU_EXPERIMENTAL';
	const named = process.env[variable];
	if (named) return tried(named);
	if (suite === 'sid') {
		const installed = tried('criu');
		if ('path' in installed && !isOlder(installed.version)) return installed;
	}
	const directory = fileURLToPath(
		new URL(`../.cache/criu${suite === 'sid' ? '' : `-${suite}`}`, import.meta.url),
	);
	const script = fileURLToPath(new URL('../scripts/get-criu.sh', import.meta.url));
	if (!existsSync(`${directory}/criu`))
		console.error(`getting CRIU from Debian ${suite} (about 25 MB, nothing is installed)`);
	const got = spawnSync(script, [directory, suite], {
		encoding: 'utf8',
		stdio: ['ignore', 'pipe', 'pipe'],
		timeout: GET_MILLIS,
	});
	const last = got.error?.message ?? got.stderr.trim().split('\n').at(-1);
	if (got.status !== 0) return { why: `CRIU could not be had: ${last}` };
	return tried(got.stdout.trim());
}

/** CRIU says itself whether it can run on this kernel with these rights. */
function tried(path: string): Found {
	const run = (action: string) =>
		spawnSync(path, [action], { encoding: 'utf8', timeout: CHECK_MILLIS, stdio: ['ignore', 'pipe', 'pipe'] });
	const version = /^Version: (\S+)/.exec(run('--version').stdout ?? '')?.[1];
	if (!version) return { why: `${path} does not start` };
	const { status, stdout, stderr } = run('check');
	if (status === 0) return { path, version };
	return { why: `CRIU ${version} cannot run here: ${`${stderr}${stdout}`.trim().split('\n').at(-1)}` };
}

function isOlder(version: string): boolean {
	const [major = 0, minor = 0] = version.split('.').map(Number);
	return major < OLDEST_INSTALLED[0] || (major === OLDEST_INSTALLED[0] && minor < OLDEST_INSTALLED[1]);
}

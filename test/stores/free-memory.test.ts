/** The amount of free memory, in artificial trees of /proc and /sys: both versions of control groups, and containers. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { FreeMemory } from '../../src/stores/free-memory.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';

const MB = 1 << 20;
const UNLIMITED_V1 = '9223372036854771712';
const MACHINE = 8000 * MB;

const V2_MOUNT = '30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate';
const V1_MOUNT = '35 31 0:29 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory';
const V1_CPU_MOUNT = '36 31 0:31 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct';
const HYBRID_MOUNT = '41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw';

/** The free bytes in a tree of these files, by path. */
function freeIn(files: Record<string, string>): number {
	const root = temporaryDirectory();
	const all = { '/proc/meminfo': `MemTotal: 99 kB\nMemAvailable:   ${MACHINE / 1024} kB\n`, ...files };
	for (const [path, text] of Object.entries(all)) {
		mkdirSync(dirname(join(root, path)), { recursive: true });
		writeFileSync(join(root, path), text);
	}
	return new FreeMemory(root).bytes();
}

const proc = (groups: string, ...mounts: string[]) => ({
	'/proc/self/cgroup': groups,
	'/proc/self/mountinfo': `22 1 8:1 / / rw - ext4 /dev/root rw\n${mounts.join('\n')}\n`,
});

/** A group of version 2. */
const v2 = (path: string, max: number | string, current: number, stat = '') => ({
	[`${path}/memory.max`]: `${max}\n`,
	[`${path}/memory.current`]: `${current}\n`,
	[`${path}/memory.stat`]: stat,
});

/** A group of version 1. */
const v1 = (path: string, limit: number | string, usage: number, stat = '') => ({
	[`${path}/memory.limit_in_bytes`]: `${limit}\n`,
	[`${path}/memory.usage_in_bytes`]: `${usage}\n`,
	[`${path}/memory.stat`]: stat,
});

const test = suite('free memory');

test('without control groups: the memory of the machine', () => {
	assert.is(freeIn({}), MACHINE);
});

test('nothing can be read: no limit', () => {
	assert.is(new FreeMemory(join(temporaryDirectory(), 'absent')).bytes(), Number.POSITIVE_INFINITY);
});

test('version 2: the limit less the usage', () => {
	const group = v2('/sys/fs/cgroup/a', 1000 * MB, 300 * MB);
	assert.is(freeIn({ ...proc('0::/a\n', V2_MOUNT), ...group }), 700 * MB);
});

test('version 2: no limit', () => {
	const group = v2('/sys/fs/cgroup/a', 'max', 300 * MB);
	assert.is(freeIn({ ...proc('0::/a\n', V2_MOUNT), ...group }), MACHINE);
});

test('version 2: page cache and reclaimable slab are free', () => {
	const stat = [
		`anon ${100 * MB}`,
		`file ${850 * MB}`,
		`inactive_anon ${60 * MB}`,
		`active_anon ${40 * MB}`,
		`inactive_file ${500 * MB}`,
		`active_file ${300 * MB}`,
		`slab_reclaimable ${20 * MB}`,
		`slab_unreclaimable ${30 * MB}`,
	].join('\n');
	const group = v2('/sys/fs/cgroup/a', 1000 * MB, 1000 * MB, stat);
	assert.is(freeIn({ ...proc('0::/a\n', V2_MOUNT), ...group }), 820 * MB);
});

test('more is reclaimable than used, as values of two moments may be: no more is free than the limit', () => {
	const group = v2('/sys/fs/cgroup/a', 1000 * MB, 100 * MB, `inactive_file ${300 * MB}\n`);
	assert.is(freeIn({ ...proc('0::/a\n', V2_MOUNT), ...group }), 1000 * MB);
});

test('more is used than the limit allows: nothing is free', () => {
	const group = v2('/sys/fs/cgroup/a', 100 * MB, 101 * MB);
	assert.is(freeIn({ ...proc('0::/a\n', V2_MOUNT), ...group }), 0);
});

test('version 2: the limit of a parent counts', () => {
	const files = {
		...v2('/sys/fs/cgroup/a', 500 * MB, 400 * MB),
		...v2('/sys/fs/cgroup/a/b', 'max', 300 * MB),
		...v2('/sys/fs/cgroup/a/b/c', 900 * MB, 10 * MB),
	};
	assert.is(freeIn({ ...proc('0::/a/b/c\n', V2_MOUNT), ...files }), 100 * MB);
});

test('version 2: a group without the memory controller, below one with a limit', () => {
	const files = { ...v2('/sys/fs/cgroup/a', 500 * MB, 100 * MB), '/sys/fs/cgroup/a/b/cgroup.procs': '' };
	assert.is(freeIn({ ...proc('0::/a/b\n', V2_MOUNT), ...files }), 400 * MB);
});

test('version 1: limits of the group and of its parents, less the usage without page cache', () => {
	const stat = `cache 7\ninactive_file 9\ntotal_inactive_file ${50 * MB}\ntotal_active_file ${25 * MB}\n`;
	const files = {
		...v1('/sys/fs/cgroup/memory', UNLIMITED_V1, 4000 * MB),
		...v1('/sys/fs/cgroup/memory/a', 600 * MB, 500 * MB, stat),
		...v1('/sys/fs/cgroup/memory/a/b', UNLIMITED_V1, 90 * MB),
	};
	const groups = '5:cpu,cpuacct:/x\n4:memory:/a/b\n';
	assert.is(freeIn({ ...proc(groups, V1_CPU_MOUNT, V1_MOUNT), ...files }), 175 * MB);
});

test('both versions, memory in the first', () => {
	const files = {
		...v1('/sys/fs/cgroup/memory/a', 600 * MB, 500 * MB),
		'/sys/fs/cgroup/unified/a/cgroup.procs': '',
	};
	const groups = '4:memory:/a\n0::/a\n';
	assert.is(freeIn({ ...proc(groups, V1_MOUNT, HYBRID_MOUNT), ...files }), 100 * MB);
});

test('both versions, memory in the second', () => {
	const files = v2('/sys/fs/cgroup/unified/a', 600 * MB, 450 * MB);
	assert.is(freeIn({ ...proc('5:cpu:/a\n0::/a\n', V1_CPU_MOUNT, HYBRID_MOUNT), ...files }), 150 * MB);
});

test('a controller whose name only begins with memory', () => {
	const files = v1('/sys/fs/cgroup/memory', 100, 100);
	assert.is(freeIn({ ...proc('4:memory_x:/\n', V1_MOUNT), ...files }), MACHINE);
});

test('a container with a cgroup namespace: its group is the root', () => {
	const files = v2('/sys/fs/cgroup', 600 * MB, 400 * MB);
	assert.is(freeIn({ ...proc('0::/\n', V2_MOUNT), ...files }), 200 * MB);
});

test('a container without a cgroup namespace: its group is the root of the mount, the path is the host’s', () => {
	const mount = '35 31 0:29 /docker/1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory';
	const files = {
		...v1('/sys/fs/cgroup/memory', 600 * MB, 400 * MB),
		...v1('/sys/fs/cgroup/memory/in', 500 * MB, 490 * MB),
	};
	assert.is(freeIn({ ...proc('4:memory:/docker/1\n', mount), ...files }), 200 * MB);
	assert.is(freeIn({ ...proc('4:memory:/docker/1/in\n', mount), ...files }), 10 * MB);
});

test('the mounted group of another container does not count', () => {
	const other = '99 31 0:26 /docker/12 /other rw - cgroup2 cgroup2 rw';
	const files = { ...v2('/sys/fs/cgroup/docker/1', 600 * MB, 400 * MB), ...v2('/other', 2, 1) };
	assert.is(freeIn({ ...proc('0::/docker/1\n', other, V2_MOUNT), ...files }), 200 * MB);
});

test('a path that is not below the mount: the mount point itself', () => {
	const files = v2('/sys/fs/cgroup', 600 * MB, 100 * MB);
	for (const path of ['/system.slice/x.service', '/../../y'])
		assert.is(freeIn({ ...proc(`0::${path}\n`, V2_MOUNT), ...files }), 500 * MB, path);
});

test('a mount hidden by another one: the conventional path', () => {
	const files = v2('/sys/fs/cgroup', 600 * MB, 100 * MB);
	assert.is(freeIn({ ...proc('0::/\n', HYBRID_MOUNT), ...files }), 500 * MB);
});

test('a mount point with a space in its name', () => {
	const mount = '30 23 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw';
	assert.is(freeIn({ ...proc('0::/a\n', mount), ...v2('/my groups/a', 500, 100) }), 400);
});

test.run();

/**
 * How much memory this process can still get: what the machine has, and what the limits of its control groups leave.
 *
 * The limit of every group up to the root counts, since a parent's may be the tighter one. The usage that the kernel reports
 * for a group includes page cache, which it gives back when memory is needed: a container that has read large files looks
 * full, and is not. Both versions of control groups may be mounted at once, with the memory controller in either.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The files of one version of control groups. */
interface Version {
	/** Whether a line of /proc/self/cgroup with these controllers is about it. */
	isLine(controllers: string): boolean;
	/** Whether a mount of this type, with these options of its file system, shows it. */
	isMount(type: string, options: string): boolean;
	/** Where it is mounted by convention. */
	usual: string;
	limit: string;
	usage: string;
	/** Keys of memory.stat: what the kernel gives back, of the group and those below it. */
	reclaimable: RegExp;
}

const versions: Version[] = [
	{
		isLine: (controllers) => controllers === '',
		isMount: (type) => type === 'cgroup2',
		usual: '/sys/fs/cgroup',
		limit: 'memory.max',
		usage: 'memory.current',
		reclaimable: /^(?:inactive_file|active_file|slab_reclaimable) (\d+)$/gm,
	},
	{
		isLine: (controllers) => controllers.split(',').includes('memory'),
		isMount: (type, options) => type === 'cgroup' && options.split(',').includes('memory'),
		usual: '/sys/fs/cgroup/memory',
		limit: 'memory.limit_in_bytes',
		usage: 'memory.usage_in_bytes',
		reclaimable: /^total_(?:inactive_file|active_file) (\d+)$/gm,
	},
];

interface Group {
	path: string;
	version: Version;
}

export class FreeMemory {
	readonly #groups: Group[];

	/** Finds the groups of this process. `root` is where the file tree starts that is looked at: tests make their own. */
	constructor(readonly root = '/') {
		this.#groups = versions.flatMap((version) => this.#find(version));
	}

	/** Bytes that are free now; infinite where nothing can be known. */
	bytes(): number {
		const available = /^MemAvailable: +(\d+) kB$/m.exec(this.#read('/proc/meminfo'))?.[1];
		const machine = available === undefined ? Number.POSITIVE_INFINITY : Number(available) * 1024;
		return Math.max(
			0,
			this.#groups.reduce((least, group) => Math.min(least, this.#left(group)), machine),
		);
	}

	/** What the limit of `group` leaves; infinite where it has none. */
	#left({ path, version }: Group): number {
		const limit = Number.parseInt(this.#read(join(path, version.limit)), 10);
		// "max", or 2^63 less a page; or no such file, where the controller is not enabled. The others cost time to read.
		if (!Number.isSafeInteger(limit)) return Number.POSITIVE_INFINITY;
		const usage = Number.parseInt(this.#read(join(path, version.usage)), 10);
		if (Number.isNaN(usage)) return Number.POSITIVE_INFINITY;
		let reclaimable = 0;
		for (const [, bytes] of this.#read(join(path, 'memory.stat')).matchAll(version.reclaimable))
			reclaimable += Number(bytes);
		// The numbers are not of one moment, and the sum may exceed the usage.
		return limit - Math.max(0, usage - reclaimable);
	}

	/** This process's group and all above it, as far as they can be seen from here. */
	#find(version: Version): Group[] {
		const lines = this.#read('/proc/self/cgroup').split('\n');
		const own = lines
			.map((line) => /^\d+:([^:]*):(.*)$/.exec(line))
			.find((line) => line && version.isLine(line[1]!))?.[2];
		if (own === undefined) return [];
		const mounts = this.#mounts(version);
		const seen = mounts.flatMap(({ root, at }) => {
			const below = relativeTo(root, own);
			if (below === undefined || !this.#exists(join(at, below))) return [];
			return upTo(at, join(at, below));
		});
		// In a container the path may be the host's while the group itself is what is mounted.
		const alone = [...mounts.map(({ at }) => at), version.usual].find((at) => this.#exists(at));
		const paths = seen.length || alone === undefined ? seen : [alone];
		return [...new Set(paths)].map((path) => ({ path, version }));
	}

	/** Where the groups are mounted, and which group is at the top there. */
	#mounts(version: Version): { root: string; at: string }[] {
		return this.#read('/proc/self/mountinfo')
			.split('\n')
			.flatMap((line) => {
				const [mount = '', fileSystem = ''] = line.split(' - ');
				const [type = '', , options = ''] = fileSystem.split(' ');
				const [, , , root = '', at = ''] = mount.split(' ').map(unescaped);
				return version.isMount(type, options) ? [{ root, at }] : [];
			});
	}

	#exists(path: string): boolean {
		return existsSync(join(this.root, path));
	}

	/** Empty where the file is not there, or not for us to read. */
	#read(path: string): string {
		try {
			return readFileSync(join(this.root, path), 'utf8');
		} catch {
			return '';
		}
	}
}

/** `path` as seen from the group `root`; undefined where it is not below it (namespaces show "/.." for what is outside). */
function relativeTo(root: string, path: string): string | undefined {
	if (path.split('/').includes('..')) return undefined;
	if (root === '/' || path === root) return path.slice(root === '/' ? 0 : root.length);
	return path.startsWith(`${root}/`) ? path.slice(root.length) : undefined;
}

/** `path` and the directories above it, up to `top`. */
function upTo(top: string, path: string): string[] {
	const paths = [path.replace(/\/$/, '')];
	while (paths.at(-1)!.length > top.length) paths.push(dirname(paths.at(-1)!));
	return paths;
}

/** The kernel writes spaces and the like as octal numbers there. */
function unescaped(text: string): string {
	return text.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

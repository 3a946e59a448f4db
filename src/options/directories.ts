/**
 * Directories and files that the command will create or write to. The checks leave nothing behind: a command that cannot run
 * creates no file, and one that can creates them after all checks.
 */
import { closeSync, existsSync, lstatSync, openSync, type Stats, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { O_APPEND, O_CREAT, O_EXCL, O_NONBLOCK, O_RDWR, O_TMPFILE, O_WRONLY } from '../libc/constants.js';
import { errnoOf, errnoText } from '../libc/errno.js';
import { refuseInUse } from '../net/unix-socket.js';
import { registerCleanup, removeRegistered } from '../runtime/cleanup.js';
import { refusePidfile } from './pidfile.js';
import type { Options } from './resolve.js';
import { writesFiles } from './together.js';

/** The kernel's errors for a directory in which this process may not create a file, or which has no room for one. */
const REFUSALS = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EDQUOT']);

/** The kernel's errors where the file system does not support O_TMPFILE. */
const NO_UNNAMED = new Set(['EOPNOTSUPP', 'ENOTSUP', 'EISDIR']);

/** The name of a directory in messages, and the option that chooses another one. */
interface Named {
	what: string;
	option: string;
}

/** Names the directory of the sockets; --images-dir where it is used for them. */
export function workDirName({ workDir, imagesDir }: Options): Named {
	return workDir === imagesDir
		? { what: 'the images dir', option: '--images-dir' }
		: { what: 'the work dir', option: '--work-dir' };
}

/**
 * Throws where the files of the command cannot be created: images, sockets (the one for CRIU is `socketName`, unless one was
 * `handedOver`; undefined: none is needed), the pidfile, the log file, the spool.
 */
export function checkDirectories(
	options: Options,
	socketName: string | undefined,
	handedOver: boolean,
): void {
	const { imagesDir, spool, pidfile, logFile } = options;
	const workDir = resolve(options.workDir);
	if (writesFiles(options)) checkDirectory(imagesDir!, { what: 'the images dir', option: '--images-dir' });
	// The control socket is created there, also where CRIU's own socket was handed over.
	checkDirectory(workDir, workDirName(options), socketName !== undefined);
	if (socketName !== undefined && !handedOver) refuseInUse(join(workDir, socketName), 'table');
	if (spool !== undefined) checkSpool(spool);
	if (pidfile !== undefined) {
		const path = resolve(workDir, pidfile);
		refusePidfile(path);
		checkParent(path, workDir, `cannot write the pidfile ${path}`);
	}
	if (logFile !== undefined) checkLogFile(resolve(workDir, logFile), workDir);
}

/** Throws unless the directory at `path` exists or can be created, and with `writable` unless files can be created in it. */
export function checkDirectory(path: string, { what, option }: Named, writable = true): void {
	const directory = resolve(path);
	const { at, stat } = nearest(directory, what, option);
	if (!stat.isDirectory())
		throw new Error(`${what} ${directory} is not a directory: choose another ${option}`);
	if (at === directory && !writable) return;
	const errno = probe(at);
	if (errno === undefined) return;
	const cannot =
		at === directory ? `cannot write in ${what} ${directory}` : `cannot make ${what} ${directory}`;
	throw new Error(`${cannot}: ${errnoText(errno)}; choose another ${option}`);
}

/** The file at `path`, or else its closest existing parent, in which the first directory would be created. */
function nearest(path: string, what: string, option: string): { at: string; stat: Stats } {
	for (let at = path; ; at = dirname(at)) {
		try {
			// A dangling symbolic link prevents the creation of a directory.
			const stat = statSync(at, { throwIfNoEntry: false }) ?? lstatSync(at, { throwIfNoEntry: false });
			if (stat) return { at, stat };
		} catch (error) {
			const { code } = error as NodeJS.ErrnoException;
			// The path is below a file, which the next iteration finds.
			if (code === 'ENOTDIR') continue;
			throw new Error(`cannot make ${what} ${path}: ${errnoText(errnoOf(error))}; choose another ${option}`);
		}
	}
}

/** The errno with which the creation of a file in `directory` fails; undefined where it succeeds. */
function probe(directory: string): number | undefined {
	try {
		// An unnamed file leaves nothing behind. access(2) would check the real user, without its capabilities.
		closeSync(openSync(directory, O_WRONLY | O_TMPFILE, 0o600));
		return undefined;
	} catch (error) {
		if (REFUSALS.has((error as NodeJS.ErrnoException).code!)) return errnoOf(error);
	}
	// Not every file system supports O_TMPFILE: use a file with a name for a moment.
	const path = join(directory, `.criu-image-streamer.${process.pid}`);
	try {
		registerCleanup(path);
		closeSync(openSync(path, O_WRONLY | O_CREAT | O_EXCL, 0o600));
		return undefined;
	} catch (error) {
		return errnoOf(error);
	} finally {
		removeRegistered(path);
	}
}

/** The spool must be an unnamed file: a file that is left behind would fill the disk. */
function checkSpool(spool: string): void {
	try {
		closeSync(openSync(spool, O_RDWR | O_TMPFILE, 0o600));
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		const why = NO_UNNAMED.has(code!) ? 'its file system has none' : errnoText(errnoOf(error));
		throw new Error(
			`cannot make an unnamed file in --spool ${spool}: ${why}; choose a directory of a local disk that this process may write to`,
		);
	}
}

/** Throws where no file can be created at `path`: in the work dir, which may not exist yet, or in an existing directory. */
function checkParent(path: string, workDir: string, cannot: string): void {
	const directory = dirname(path);
	if (directory === workDir && !existsSync(directory)) return;
	const errno = probe(directory);
	if (errno !== undefined) throw new Error(`${cannot}: ${errnoText(errno)}`);
}

function checkLogFile(path: string, workDir: string): void {
	const cannot = `cannot open the log file ${path}`;
	try {
		// Opening a FIFO without a reader fails with O_NONBLOCK, and would wait without it.
		closeSync(openSync(path, O_WRONLY | O_APPEND | O_NONBLOCK));
	} catch (error) {
		const { code } = error as NodeJS.ErrnoException;
		if (code !== 'ENOENT') throw new Error(`${cannot}: ${errnoText(errnoOf(error))}`);
		checkParent(path, workDir, cannot);
	}
}

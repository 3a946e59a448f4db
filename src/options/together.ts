/** Options that require or exclude each other, checked by the command line alone. */

import { UsageError } from '../runtime/errors.js';
import { MAX_SHARDS } from '../stream/limits.js';
import type { Options } from './resolve.js';

/** Whether the command writes files instead of replaying to CRIU. */
export function writesFiles({ command, imagesDir }: Options): boolean {
	return command === 'extract' && imagesDir !== undefined;
}

/** Whether the stream goes over connections instead of descriptors. */
export function overNetwork({ connect, listen }: Options): boolean {
	return connect.length > 0 || listen.length > 0;
}

/** Throws {@link UsageError} about the first invalid combination. */
export function checkTogether(options: Options): void {
	checkWay(options);
	if (overNetwork(options)) checkNetwork(options);
	else refuseNetworkOptions(options);
	checkNumbers(options);
	if (writesFiles(options)) refuseReplayOptions(options);
	if (options.from !== undefined) refuseDumpOptions(options);
}

function checkWay({ shardFds, connect, listen }: Options): void {
	const ways = [shardFds && '--shard-fds', connect[0] && '--connect', listen[0] && '--listen'];
	const given = ways.filter(Boolean);
	if (given.length > 1)
		throw new UsageError(`${given.join(' and ')} exclude each other: the stream goes one way`);
	const count = shardFds?.length ?? 0;
	if (count > MAX_SHARDS) throw new UsageError(`--shard-fds: ${count} shards; ${MAX_SHARDS} are the most`);
}

function checkNetwork({ connect, listen, shards, tlsCert, tlsKey, tlsCa }: Options): void {
	const addresses = [...connect, ...listen];
	const twice = listen.find((text, i) => listen.indexOf(text) !== i);
	if (twice) throw new UsageError(`--listen ${twice} is given twice`);
	const all = addresses.length * shards;
	if (all > MAX_SHARDS)
		throw new UsageError(
			`${addresses.length} addresses with ${shards} connections each are ${all}; ${MAX_SHARDS} are the most`,
		);
	if ((tlsCert === undefined) !== (tlsKey === undefined))
		throw new UsageError('--tls-cert and --tls-key belong together');
	if (listen.length && tlsCa !== undefined && tlsCert === undefined)
		throw new UsageError('a side that listens with TLS needs --tls-cert and --tls-key');
}

function refuseNetworkOptions(options: Options): void {
	const idle = {
		'--shards': options.shards > 1,
		'--token-file': options.tokenFile !== undefined,
		'--tls-cert': options.tlsCert !== undefined,
		'--tls-key': options.tlsKey !== undefined,
		'--tls-ca': options.tlsCa !== undefined,
	};
	const given = Object.entries(idle).find(([, is]) => is)?.[0];
	if (given) throw new UsageError(`${given} is for connections: --connect or --listen is missing`);
}

/** Each descriptor and each name that the user gives has one use. */
function checkNumbers({ shardFds = [], extFiles }: Options): void {
	const used = [...shardFds, ...extFiles.map(({ fd }) => fd)];
	const twice = used.find((fd, i) => used.indexOf(fd) !== i);
	if (twice !== undefined)
		throw new UsageError(`fd ${twice} is given twice; each shard and each file needs its own`);
	const names = extFiles.map(({ name }) => name);
	const same = names.find((name, i) => names.indexOf(name) !== i);
	if (same !== undefined) throw new UsageError(`--ext-file-fds: ${same} is given twice`);
}

function refuseReplayOptions(options: Options): void {
	if (options.keep)
		throw new UsageError('--keep is for replaying to CRIU; with --images-dir the files are kept anyway');
	const given = [
		options.tcpListenRemap.size && '--tcp-listen-remap',
		options.spool !== undefined && '--spool',
		options.memoryLimit !== undefined && '--memory-limit',
		options.criuFd !== undefined && '--criu-fd',
		options.criuClients !== 1 && '--criu-clients',
	].find(Boolean);
	if (given) throw new UsageError(`${given} is for replaying to CRIU, and extract --images-dir writes files`);
}

function refuseDumpOptions(options: Options): void {
	const given = [
		options.criuFd !== undefined && '--criu-fd',
		options.zeroCopy !== 'auto' && '--zero-copy',
		options.imagesDir !== undefined && '--images-dir',
	].find(Boolean);
	if (given) throw new UsageError(`${given} is for a dump by CRIU, and --from sends what is on the disk`);
}

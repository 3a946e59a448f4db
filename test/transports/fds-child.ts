/**
 * Opens shards as a command does, in a separate process: `fds-child.ts capture|extract [SHARDS] [PROGRESS]`. Its result goes
 * to $RESULT. With $HOLD it keeps running, after the shards are closed, until the end of stdin.
 */
import { readSync, writeFileSync } from 'node:fs';
import type { Command } from '../../src/options/definitions.js';
import { UsageError } from '../../src/runtime/errors.js';
import { openIncoming, openOutgoing } from '../../src/transports/open.js';
import { readAll, wayOf, writeAll } from '../peer/drive.js';

const [command, fds, progress = '2'] = process.argv.slice(2) as [Command, string?, string?];
const result: { error?: string; usage?: boolean; names?: string[]; read?: string[] } = {};
try {
	const way = await wayOf(command, { 'shard-fds': fds || undefined, 'progress-fd': progress });
	if (command === 'capture') {
		const { shards, received } = await openOutgoing(way, {});
		result.names = shards.map(({ name }) => name);
		for (const shard of shards) await writeAll(shard, Buffer.from(`through ${shard.name}`));
		await received();
	} else {
		const { shards, acknowledge } = await openIncoming(way, {});
		result.names = shards.map(({ name }) => name);
		result.read = (await Promise.all(shards.map(readAll))).map(String);
		await acknowledge();
	}
} catch (error) {
	result.error = (error as Error).message;
	result.usage = error instanceof UsageError;
}
writeFileSync(process.env.RESULT!, JSON.stringify(result));
if (process.env.HOLD) readSync(0, Buffer.alloc(1));

/** A command that only has its session: `tsx entry.ts COMMAND '{"option": value}'` opens it, says so, and waits. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, definitions, readOptions } from '../../src/cli/options.js';
import { openSession } from '../../src/daemon/session.js';
import { describeError } from '../../src/errors.js';
import { flushLines, sayLine } from '../../src/log.js';
const [command, given] = process.argv.slice(2);
const defaults = Object.fromEntries(
	Object.entries(definitions).map(([name, definition]) => [name, definition.default]),
);
try {
	const options = readOptions(command as Command, { ...defaults, ...JSON.parse(given!) });
	const session = await openSession(options, `streamer-${command}.sock`);
	const socket = await session.openCriuSocket();
	session.log.warn(`socket ${JSON.stringify(socket)}`);
	session.log.debug(`debug`);
	await session.ready();
	session.log.warn(`ready`);
	if (process.env.THROW) throw new Error('thrown\nerror');
	if (process.env.UNCAUGHT) setTimeout(()=>{throw new Error('unexpected')});
	await sleep(Number(process.env.WAIT ?? 60000));
	await session.close();
} catch (error) {
	sayLine(describeError(error));
	await flushLines();
	process.exitCode = 1;
}

/**
 * `criu dump` and `criu restore` as shell scripts call them, with a stand-in: a dump sends the files of the directory
 * $STAND_IN_IMAGE, a restore reads and compares them, and each that succeeds adds a line to $STAND_IN_LOG. As with CRIU, a
 * failing action script keeps the process alive.
 */
import { spawnSync } from 'node:child_process';
import { appendFileSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import yargs from 'yargs';
import { StandInDump, StandInRestore } from '../support/stand-in.js';

const options = await yargs(process.argv.slice(2))
	.options({ stream: { type: 'boolean' }, tree: { type: 'number' } })
	.options({ 'images-dir': { type: 'string', demandOption: true }, 'action-script': { type: 'string' } })
	.boolean(['restore-detached', 'shell-job'])
	.strictOptions()
	.parseAsync();
const image = process.env.STAND_IN_IMAGE!;
const imagesDir = options['images-dir'];
/** CRIU's scripts get the directory as a descriptor of CRIU. */
const directory = `/proc/${process.pid}/fd/${openSync(imagesDir, 'r')}`;

/** Whether the action script, if there is one, succeeds. */
function script(action: string): boolean {
	const path = options['action-script'];
	if (path === undefined) return true;
	const env = { ...process.env, CRTOOLS_SCRIPT_ACTION: action, CRTOOLS_IMAGE_DIR: directory };
	return spawnSync(path, [], { env, stdio: 'inherit' }).status === 0;
}

function done(what: string): void {
	appendFileSync(process.env.STAND_IN_LOG!, `${what}\n`);
}

async function dump(): Promise<void> {
	process.kill(options.tree!, 'SIGSTOP');
	try {
		const connection = await StandInDump.connect(imagesDir);
		const names = readdirSync(image).filter((name) => name !== 'inventory.img');
		await Promise.all(names.map((name) => connection.put(name, readFileSync(join(image, name)))));
		await connection.put('inventory.img', readFileSync(join(image, 'inventory.img')));
		if (!script('post-dump')) throw new Error('the action script failed');
		process.kill(options.tree!, 'SIGKILL');
		connection.close();
	} catch (error) {
		process.kill(options.tree!, 'SIGCONT');
		throw error;
	}
	done('dumped');
}

async function restore(): Promise<void> {
	const connection = options.stream ? await StandInRestore.connect(imagesDir) : undefined;
	for (const name of ['inventory.img', ...readdirSync(image)]) {
		const content = connection ? await connection.read(name) : readFileSync(join(imagesDir, name));
		if (!content?.equals(readFileSync(join(image, name)))) throw new Error(`${name} is not what was dumped`);
	}
	connection?.close();
	done('restored');
}

try {
	if (!script('pre-stream')) throw new Error('the action script failed');
	await (options._[0] === 'dump' ? dump() : restore());
	process.exit(0);
} catch (error) {
	console.error(`stand-in for CRIU: ${error}`);
	process.exit(1);
}

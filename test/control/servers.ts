/** The streamer's side of the action script: control servers in this process, and in another. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Role } from '../../src/control/paths.js';
import { type ControlServer, serveControl } from '../../src/control/server.js';
import { afterwards } from '../support/cleanup.js';
import { until } from '../support/until.js';
import { run } from './script.js';

/** CRIU_STREAMER_TIMEOUT of scripts whose timeout is tested; all others have the default of 10 minutes. */
export const SHORT_TIMEOUT = '0.2';

/** The control server of a streamer in `dir`. */
export function controlServer(dir: string, role: Role = 'capture'): ControlServer {
	const server = serveControl(dir, role);
	afterwards(() => server.close());
	return server;
}

/** The control server of a capture to which this process is connected: it acts as CRIU for the scripts that it starts. */
export function connected(dir: string): ControlServer {
	const server = controlServer(dir);
	server.connected(process.pid);
	return server;
}

/** {@link connected}, after a script of this process has asked at pre-stream: the capture has made FIFOs for the next one. */
export async function claimed(dir: string): Promise<ControlServer> {
	const server = controlServer(dir);
	server.criuSocketReady();
	await run('pre-stream', dir).succeeds();
	server.connected(process.pid);
	return server;
}

/** The names of the FIFOs in `dir`. */
export function fifosIn(dir: string): string[] {
	return readdirSync(dir).filter((name) => statSync(join(dir, name)).isFIFO());
}

/** Resolves when a script waits for an answer. */
export async function asked(server: ControlServer): Promise<void> {
	await until('a question', () => server.waiting > 0);
}

/** A control server in a separate process, which reports when it listens and when it is asked. */
export async function captureProcess(dir: string): Promise<{ child: ChildProcess; output: string }> {
	const server = fileURLToPath(new URL('../../src/control/server.ts', import.meta.url));
	const program = `
		const { serveControl } = await import(${JSON.stringify(server)});
		const server = serveControl(${JSON.stringify(dir)}, 'capture');
		server.criuSocketReady();
		server.connected(process.ppid);
		console.log('up');
		setInterval(() => server.waiting && console.log('asked'), 10);`;
	const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
		cwd: fileURLToPath(new URL('../..', import.meta.url)),
		stdio: ['ignore', 'pipe', 'inherit'],
	});
	const exit = once(child, 'exit');
	afterwards(async () => {
		child.kill('SIGKILL');
		await exit;
	});
	const result = { child, output: '' };
	child.stdout!.setEncoding('utf8').on('data', (text) => (result.output += text));
	await until('the server', () => result.output.includes('up'));
	return result;
}

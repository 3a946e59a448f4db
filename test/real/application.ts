/** An application that CRIU dumps and brings back. */
import { readdirSync, readFileSync, statSync, truncateSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { until } from '../support/until.js';

export function kill(pid: number, signal: NodeJS.Signals): void {
	try {
		process.kill(pid, signal);
	} catch {
		// It has ended already.
	}
}

/** The session of a process; undefined when it has ended. */
function sessionOf(pid: string): number | undefined {
	try {
		// After the name in parentheses, which may have any characters: state, parent, group, session.
		const [, , , session] = readFileSync(`/proc/${pid}/stat`, 'utf8')
			.replace(/^.*\) /s, '')
			.split(' ');
		return Number(session);
	} catch {
		return undefined;
	}
}

/** The application, before its dump and after its restore: CRIU restores it with the same pid and the same open files. */
export class Application {
	/** Bytes of its output at its dump. */
	private bytes = 0;

	constructor(
		readonly pid: number,
		readonly output: string,
	) {}

	/** To be called just before its dump: records the size of its output. */
	remember(): void {
		this.bytes = statSync(this.output).size;
	}

	lines(): string[] {
		return readFileSync(this.output, 'utf8').split('\n').slice(0, -1);
	}

	/** Whether any process of its session exists, even a zombie: CRIU cannot restore a pid that is in use. */
	exists(): boolean {
		return readdirSync('/proc').some((entry) => /^\d+$/.test(entry) && sessionOf(entry) === this.pid);
	}

	/** Ends it, with all of its group: its children are in its group, also after a restore. */
	end(): void {
		kill(-this.pid, 'SIGKILL');
	}

	/** Waits until it has ended, after a dump or after {@link kill}. */
	async gone(): Promise<void> {
		await until('the end of the application', () => !this.exists());
	}

	/** Ends it, and truncates the output since its dump: CRIU does not restore an open file whose size has changed. */
	async backToDump(): Promise<void> {
		this.end();
		await this.gone();
		truncateSync(this.output, this.bytes);
	}

	/** Makes the application check its state. */
	async verify(): Promise<void> {
		const before = this.lines().length;
		process.kill(this.pid, 'SIGUSR1');
		await until('the report of the application', () => this.lines().length > before);
		assert.match(this.lines().at(-1)!, /right$/);
	}
}

/** Names, in the work dir, of what action scripts use. A capture and a serve may share a work dir. */
import type { Process } from './lineage.js';

/** The streamer that listens: that of a dump, or that of a restore. */
export type Role = 'capture' | 'serve';

/** The file name of the control socket of `role`. */
export function controlSocketName(role: Role): string {
	return `streamer-${role}-control.sock`;
}

/** The file names of the FIFOs for the script of `criu`, which the script finds by the same numbers. */
export function fifoNames({ pid, start }: Process): { question: string; answer: string } {
	const name = `streamer-capture-${pid}-${start}`;
	return { question: `${name}.question`, answer: `${name}.answer` };
}

/** Whether `name` may be one of {@link fifoNames}. */
export function isFifoName(name: string): boolean {
	return /^streamer-capture-\d+-\d+\.(question|answer)$/.test(name);
}

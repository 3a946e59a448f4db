/** The machine of the measurement, without names: figures are comparable only with it. */
import { readFileSync } from 'node:fs';
import { arch, cpus, loadavg, release, totalmem } from 'node:os';

export interface Machine {
	cpu: string;
	cores: number;
	memory: number;
	kernel: string;
	node: string;
	/** Runnable tasks over the last minute before the start. */
	busy: number;
	virtual: boolean;
	pipeMax: number;
	date: string;
}

export function describeMachine(): Machine {
	return {
		cpu: `${cpus()[0]?.model ?? 'unknown'}, ${arch()}`,
		cores: cpus().length,
		memory: totalmem(),
		kernel: release().split('-')[0]!,
		node: process.versions.node,
		busy: loadavg()[0]!,
		virtual: / hypervisor/.test(readFileSync('/proc/cpuinfo', 'utf8')),
		pipeMax: Number(readFileSync('/proc/sys/fs/pipe-max-size', 'utf8')),
		date: new Date().toISOString().slice(0, 10),
	};
}

export function machineLine(machine: Machine): string {
	return [
		`${machine.cores} cores (${machine.cpu}${machine.virtual ? ', virtual machine' : ''})`,
		`${Math.round(machine.memory / 2 ** 30)} GB of memory`,
		`Linux ${machine.kernel}`,
		`pipes up to ${machine.pipeMax / 2 ** 20} MB`,
		`Node ${machine.node}`,
		`load average at the start ${machine.busy.toFixed(2)}`,
		machine.date,
	].join('; ');
}

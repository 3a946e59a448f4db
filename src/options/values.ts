/** Parsers of the values of options. Each throws {@link UsageError}. */
import { UsageError } from '../runtime/errors.js';
import { MAX_TIMER_SECONDS } from '../runtime/timers.js';
import { CORRECTIONS } from '../stream/corrections.js';
import type { ExtFile } from '../stream/ext-file.js';
import { checkImageName } from '../stream/image-name.js';

export function single(name: string, value: unknown): string | undefined {
	if (value === undefined) return undefined;
	if (Array.isArray(value)) throw new UsageError(`--${name} is given more than once`);
	return filled(name, String(value));
}

export function filled(name: string, value: string): string {
	if (value === '') throw new UsageError(`--${name} is empty`);
	return value;
}

export function split(name: string, value: string | undefined): string[] | undefined {
	return value?.split(',').map((part) => filled(name, part.trim()));
}

export function optional<T>(
	name: string,
	value: string | undefined,
	read: (name: string, value: string) => T,
): T | undefined {
	return value === undefined ? undefined : read(name, value);
}

/** The kernel numbers descriptors with an int. */
const MAX_DESCRIPTOR = 0x7fffffff;

export function descriptor(name: string, value: string): number {
	const fd = Number(value);
	if (!/^\d+$/.test(value) || fd > MAX_DESCRIPTOR)
		throw new UsageError(`--${name}: ${value} is no file descriptor, a number from 0 to ${MAX_DESCRIPTOR}`);
	return fd;
}

/** `unit` is the name of what is counted, in the plural. */
export function count(name: string, value: string, max: number, unit: string): number {
	const number = Number(value);
	if (!/^\d+$/.test(value) || number < 1 || number > max) {
		throw new UsageError(`--${name}: ${value} is no number of ${unit} from 1 to ${max}`);
	}
	return number;
}

export function level(value: string): number {
	if (!/^[0-4]$/.test(value)) throw new UsageError(`-v: ${value} is no level from 0 to 4`);
	return Number(value);
}

/** Milliseconds, from a number of seconds. A value that rounds to 0 is refused, because 0 means never. */
export function millis(name: string, value: string): number {
	const seconds = Number(value);
	const result = Math.round(seconds * 1000);
	if (!/^\d+(\.\d+)?$/.test(value) || seconds > MAX_TIMER_SECONDS || (seconds > 0 && result === 0)) {
		throw new UsageError(
			`--${name}: ${value} is no number of seconds: 0 (never), or 0.001 to ${MAX_TIMER_SECONDS}`,
		);
	}
	return result;
}

/** The largest number up to which a double represents every integer. */
const MAX_BYTES = Number.MAX_SAFE_INTEGER;

export function bytes(name: string, value: string): number {
	const parts = /^(\d+)([kmgt]?)(i?b)?$/i.exec(value);
	const exponent = ' kmgt'.indexOf(parts?.[2]?.toLowerCase() || ' ');
	const result = Number(parts?.[1]) * 1024 ** exponent;
	if (!parts || result > MAX_BYTES)
		throw new UsageError(`--${name}: ${value} is no size from 0 to ${MAX_BYTES} bytes, as 512M or 4G`);
	return result;
}

export function extFile(text: string): ExtFile {
	const at = text.lastIndexOf(':');
	if (at < 1) throw new UsageError(`--ext-file-fds: ${text} is not name:fd`);
	const name = text.slice(0, at);
	try {
		checkImageName(name, '--ext-file-fds');
	} catch (error) {
		throw new UsageError((error as Error).message);
	}
	if (name === CORRECTIONS)
		throw new UsageError(
			`--ext-file-fds: ${name} is the name of a file that a capture itself adds to the image`,
		);
	return { name, fd: descriptor('ext-file-fds', text.slice(at + 1)) };
}

export function ports(pairs: string[]): Map<number, number> {
	const result = new Map<number, number>();
	for (const pair of pairs) {
		const [from, to] = /^(\d+):(\d+)$/.exec(pair)?.slice(1).map(Number) ?? [];
		if (from === undefined || to === undefined || from < 1 || to < 1 || from > 65535 || to > 65535) {
			throw new UsageError(`--tcp-listen-remap: ${pair} is not old:new, two ports from 1 to 65535`);
		}
		if (result.has(from)) throw new UsageError(`--tcp-listen-remap: port ${from} is given twice`);
		result.set(from, to);
	}
	return result;
}

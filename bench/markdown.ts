/** Numbers and tables as markdown. */
import { type Spread, spread } from './figures.js';

export function table(head: string[], rows: string[][]): string {
	const line = (cells: string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
	return [line(head), line(head.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n');
}

export function digits(value: number): string {
	const size = Math.abs(value);
	return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toPrecision(2);
}

export function median(values: number[]): string {
	const found = spread(values);
	return found ? digits(found.median) : '–';
}

/** The median, with the smallest and the largest. */
export function times(found: Spread | undefined): string {
	return found ? `${digits(found.median)} (${digits(found.min)} to ${digits(found.max)})` : '–';
}

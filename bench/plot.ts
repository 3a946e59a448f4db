/** Wall seconds per GB of every reader and sender, as bars in a small SVG that is legible on light and dark pages. */
import { GB, type Line, lines, type Sample, spread } from './figures.js';
import type { Participant } from './rows.js';

const WIDTH = 800;
const LEFT = 150;
const RIGHT = 60;
const BAR = 9;
const GAP = 12;
const HEAD = 34;
const colours: [Participant, string][] = [
	['limit', '#8a8f98'],
	['ours', '#1f8a70'],
	['original', '#d9622b'],
];
const style = [
	'text{font:12px system-ui,sans-serif;fill:#333}',
	'.title{font-weight:600}',
	'.value{font-size:10px}',
	'@media(prefers-color-scheme:dark){text{fill:#ccc}}',
].join('');

interface Bar {
	colour: string;
	seconds: number;
}

function bars(line: Line): Bar[] {
	return colours.flatMap(([participant, colour]) => {
		const found = spread(line.of(participant, 'wall'));
		return found ? [{ colour, seconds: (found.median / line.bytes) * GB }] : [];
	});
}

const escaped = (text: string) => text.replace(/[&<>]/g, (char) => `&#${char.charCodeAt(0)};`);

/** One group of bars per line, from `top` on; returns it with the place of the next. */
function panel(title: string, all: Line[], top: number): { parts: string[]; bottom: number } {
	const groups = all.map((line) => ({ name: line.name, bars: bars(line) }));
	const max = Math.max(...groups.flatMap((group) => group.bars.map(({ seconds }) => seconds)));
	const parts = [`<text class="title" x="8" y="${top + 18}">${title}</text>`];
	let y = top + HEAD;
	for (const { name, bars } of groups) {
		const middle = y + (bars.length * BAR) / 2 + 4;
		parts.push(`<text x="${LEFT - 8}" y="${middle}" text-anchor="end">${escaped(name)}</text>`);
		for (const { colour, seconds } of bars) {
			const width = ((seconds / max) * (WIDTH - LEFT - RIGHT)).toFixed(1);
			parts.push(
				`<rect x="${LEFT}" y="${y}" width="${width}" height="${BAR - 1}" fill="${colour}"/>`,
				`<text class="value" x="${LEFT + Number(width) + 5}" y="${y + BAR - 1}">${seconds.toPrecision(2)}</text>`,
			);
			y += BAR;
		}
		y += GAP;
	}
	return { parts, bottom: y };
}

/** Captures and replays with the largest image. Empty when neither was measured. */
export function plot(samples: Sample[]): string {
	const parts: string[] = [];
	let top = HEAD;
	for (const [measure, title] of [
		['capture', 'Capture into …, wall seconds per GB'],
		['replay', 'Replay from …, wall seconds per GB'],
	] as const) {
		const all = lines(samples, measure);
		const bytes = Math.max(...all.map((line) => line.bytes));
		if (all.length === 0) continue;
		const drawn = panel(
			title,
			all.filter((line) => line.bytes === bytes),
			top,
		);
		parts.push(...drawn.parts);
		top = drawn.bottom;
	}
	if (parts.length === 0) return '';
	const legend = colours.map(
		([name, colour], i) =>
			`<rect x="${LEFT + i * 120}" y="12" width="12" height="12" fill="${colour}"/>` +
			`<text x="${LEFT + i * 120 + 18}" y="22">${name}</text>`,
	);
	return [
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${top}" width="${WIDTH}" height="${top}" role="img">`,
		'<title>Wall seconds per GB of captures and replays</title>',
		`<style>${style}</style>`,
		...legend,
		...parts,
		'</svg>\n',
	].join('\n');
}

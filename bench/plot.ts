/** Cost by size and by shards, as a small SVG that is legible on light and dark pages. */
import { cpu, Figures, GB, type Quantity, type Sample, spread, wall } from './figures.js';
import type { Participant } from './trials.js';

const PANEL = { width: 330, height: 210, left: 52, top: 46, gap: 70 };
const colours: Partial<Record<Participant, string>> = { ours: '#1f8a70', peer: '#d9622b' };
const style = [
	'text{font:12px system-ui,sans-serif;fill:#333}',
	'.axis{stroke:#888;stroke-width:1;fill:none}',
	'.grid{stroke:#8884;stroke-width:1}',
	'.title{font-weight:600}',
	'@media(prefers-color-scheme:dark){text{fill:#ccc}}',
].join('');

interface Line {
	participant: Participant;
	shards: number;
	points: { x: number; y: number }[];
}

function lines(figures: Figures, measure: string, quantity: Quantity): Line[] {
	return (['ours', 'peer'] as Participant[])
		.flatMap((participant) => figures.shards(measure).map((shards) => ({ participant, shards })))
		.map(({ participant, shards }) => {
			const points = figures.sizes(measure).flatMap((bytes) => {
				const found = spread(figures.values({ measure, participant, shards, bytes }, quantity));
				return found ? [{ x: bytes / GB, y: found.median }] : [];
			});
			return { participant, shards, points };
		})
		.filter(({ points }) => points.length > 0);
}

/** A step of 1, 2 or 5 times a power of ten, so that at most five fit. */
function step(max: number): number {
	const power = 10 ** Math.floor(Math.log10(max / 5));
	return power * [1, 2, 5, 10].find((factor) => max / (power * factor) <= 5)!;
}

function panel(title: string, unit: string, all: Line[], left: number, top: number): string {
	const points = all.flatMap((line) => line.points);
	const max = { x: Math.max(...points.map(({ x }) => x)), y: Math.max(...points.map(({ y }) => y)) * 1.05 };
	const at = {
		x: (x: number) => (left + (x / max.x) * PANEL.width).toFixed(1),
		y: (y: number) => (top + PANEL.height - (y / max.y) * PANEL.height).toFixed(1),
	};
	const bottom = top + PANEL.height;
	const parts = [`<text class="title" x="${left}" y="${top - 12}">${title}</text>`];
	for (let y = 0; y <= max.y; y += step(max.y))
		parts.push(
			`<path class="grid" d="M${left} ${at.y(y)}h${PANEL.width}"/>`,
			`<text x="${left - 6}" y="${Number(at.y(y)) + 4}" text-anchor="end">${Number(y.toPrecision(3))}</text>`,
		);
	for (const x of new Set(points.map((point) => point.x)))
		parts.push(
			`<text x="${at.x(x)}" y="${bottom + 16}" text-anchor="middle">${Number(x.toPrecision(3))}</text>`,
		);
	parts.push(
		`<path class="axis" d="M${left} ${top}V${bottom}h${PANEL.width}"/>`,
		`<text x="${left + PANEL.width / 2}" y="${bottom + 32}" text-anchor="middle">image, GB</text>`,
		`<text x="${left - 40}" y="${top - 12}" text-anchor="start">${unit}</text>`,
	);
	for (const { participant, shards, points } of all) {
		const dash = shards > 1 ? ' stroke-dasharray="6 4"' : '';
		const path = points.map(({ x, y }, i) => `${i ? 'L' : 'M'}${at.x(x)} ${at.y(y)}`).join('');
		parts.push(`<path d="${path}" fill="none" stroke="${colours[participant]}" stroke-width="2"${dash}/>`);
		for (const { x, y } of points)
			parts.push(`<circle cx="${at.x(x)}" cy="${at.y(y)}" r="3" fill="${colours[participant]}"/>`);
	}
	return parts.join('\n');
}

function legend(all: Line[], top: number): string {
	return all
		.map(({ participant, shards }, i) => {
			const x = PANEL.left + i * 170;
			const dash = shards > 1 ? ' stroke-dasharray="6 4"' : '';
			const name = `${participant}, ${shards} shard${shards > 1 ? 's' : ''}`;
			return (
				`<path d="M${x} ${top}h28" stroke="${colours[participant]}" stroke-width="2"${dash}/>` +
				`<text x="${x + 34}" y="${top + 4}">${name}</text>`
			);
		})
		.join('\n');
}

/** Four panels: capture and replay, CPU and wall. Empty when neither was measured. */
export function plot(samples: Sample[]): string {
	const figures = new Figures(samples);
	const measured = ['capture', 'replay'].filter((measure) => figures.sizes(measure).length > 0);
	if (measured.length === 0) return '';
	const pitch = { x: PANEL.width + PANEL.gap, y: PANEL.height + PANEL.gap + 20 };
	const panels = measured.flatMap((measure, row) =>
		(
			[
				['CPU', cpu],
				['wall', wall],
			] as const
		).map(([name, quantity], column) =>
			panel(
				`${measure}: ${name} seconds`,
				's',
				lines(figures, measure, quantity),
				PANEL.left + column * pitch.x,
				PANEL.top + row * pitch.y,
			),
		),
	);
	const width = PANEL.left + 2 * pitch.x - PANEL.gap + 20;
	const height = PANEL.top + measured.length * pitch.y;
	return [
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`,
		'<title>CPU and wall seconds by image size and shards</title>',
		`<style>${style}</style>`,
		...panels,
		legend(lines(figures, measured[0]!, cpu), height - 12),
		'</svg>\n',
	].join('\n');
}

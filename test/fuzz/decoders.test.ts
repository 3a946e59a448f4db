/**
 * The decoders by themselves, with hundreds of thousands of inputs: they accept, or refuse with a message, and never crash.
 */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { encodePagemap, Pagemap } from '../../src/images/pagemap.js';
import { Deframer } from '../../src/net/frame.js';
import { criu } from '../../src/proto/messages.js';
import { checkImageName } from '../../src/stream/image-name.js';
import { MAX_MESSAGE_BYTES } from '../../src/stream/limits.js';
import { decodeMarker, encodeMarker, type Marker } from '../../src/stream/marker.js';
import { MarkerSequencer } from '../../src/stream/sequencer.js';
import { field, image, PAGEMAP_MAGIC } from '../images/build.js';
import { suite } from '../support/suite.js';
import {
	anyFrame,
	anyMessage,
	anyName,
	corpus,
	damagedStream,
	isPlain,
	isRefusal,
	meaningOf,
	placedSteps,
	remember,
	runs,
} from './inputs.js';

const test = suite('decoders');
const LONG = { seconds: 20_000 };

/** An accepted marker is valid: encoded again, it is the same. */
function checkMarker(message: Buffer): void {
	let marker: Marker;
	try {
		marker = decodeMarker(message, 'the sender');
	} catch (error) {
		isRefusal(error);
		return;
	}
	if (marker.kind === 'file') assert.ok(isPlain(marker.name), JSON.stringify(marker.name));
	if (marker.kind === 'data') assert.ok(marker.bytes >= 0 && marker.bytes < 2 ** 32);
	assert.ok(Number.isSafeInteger(marker.seq) && marker.seq >= 0, `${marker.seq}`);
	assert.equal(decodeMarker(Buffer.from(encodeMarker(marker)).subarray(4), 'us'), marker);
}

/** Frames give whole messages, whatever the pieces of input. */
function checkFrames(bytes: Buffer, piece: number): void {
	const deframer = new Deframer('the sender', MAX_MESSAGE_BYTES);
	let taken = 0;
	try {
		for (let at = 0; at < bytes.length; at += piece) {
			deframer.push(bytes.subarray(at, at + piece));
			for (let message = deframer.next(); message; message = deframer.next()) {
				taken += 4 + message.length;
				assert.ok(message.equals(bytes.subarray(taken - message.length, taken)));
				checkMarker(message);
			}
		}
	} catch (error) {
		isRefusal(error);
		return;
	}
	assert.is(taken + deframer.left, bytes.length);
}

function checkRequest(message: Buffer): void {
	let name: string;
	try {
		name = criu.Request.decode(message).filename;
	} catch {
		// criu/connection.ts replaces the message.
		return;
	}
	try {
		checkImageName(name, 'CRIU');
	} catch (error) {
		isRefusal(error);
		return;
	}
	assert.ok(isPlain(name), JSON.stringify(name));
}

test(
	'markers',
	() =>
		fc.assert(
			fc.asyncProperty(anyMessage, (message) => remember('marker', message, () => checkMarker(message))),
			runs(60_000),
		),
	LONG,
);

test(
	'requests of CRIU’s',
	() =>
		fc.assert(
			fc.asyncProperty(anyMessage, (message) => remember('request', message, () => checkRequest(message))),
			runs(50_000),
		),
	LONG,
);

test(
	'names',
	() => {
		fc.assert(
			fc.property(anyName, (text) => {
				// As in input from outside, where there are no lone surrogates.
				const name = Buffer.from(text).toString();
				try {
					checkImageName(name, 'CRIU');
				} catch (error) {
					isRefusal(error);
					return !isPlain(name);
				}
				// Node replaces a lone surrogate, and decoding refuses the replacement.
				return isPlain(Buffer.from(name).toString());
			}),
			runs(30_000),
		);
	},
	LONG,
);

test(
	'frames',
	() => {
		fc.assert(
			fc.property(fc.array(anyFrame, { maxLength: 5 }), fc.integer({ min: 1, max: 50 }), (frames, piece) =>
				checkFrames(Buffer.concat(frames), piece),
			),
			runs(30_000),
		);
	},
	LONG,
);

test(
	'streams in pieces',
	() =>
		fc.assert(
			fc.asyncProperty(damagedStream, (bytes) => remember('frames', bytes, () => checkFrames(bytes, 50_000))),
			runs(20_000),
		),
	LONG,
);

test(
	'the order of markers',
	() => {
		fc.assert(
			fc.property(placedSteps, ({ placed }) => {
				const ended = new Set<string>();
				const order = new MarkerSequencer({ begin: (name) => name, hasEnded: (name) => ended.has(name) });
				try {
					for (const { step, seq } of placed) {
						if (step.kind === 'unknown' || (step.kind === 'file' && !isPlain(step.name))) return;
						const body = step.kind === 'data' ? { kind: step.kind, bytes: step.bytes.length } : step;
						const marker = { ...body, seq } as Marker;
						if (!order.isDue(marker)) return;
						const taken = order.take(marker);
						if (taken?.kind === 'file-end') ended.add(taken.name);
					}
				} catch (error) {
					isRefusal(error);
					assert.is(meaningOf(placed), undefined);
					return;
				}
				assert.is(order.done, meaningOf(placed) !== undefined);
			}),
			runs(30_000),
		);
	},
	LONG,
);

test('inputs that failed before', () => {
	for (const { bytes } of corpus('marker')) checkMarker(bytes);
	for (const { bytes } of corpus('request')) checkRequest(bytes);
	for (const { bytes } of corpus('frames')) for (const piece of [1, 7, 50_000]) checkFrames(bytes, piece);
});

/** An accepted pagemap has ordered runs of whole pages; encoded again, it says the same. */
function checkPagemap(content: Buffer): void {
	let pagemap: Pagemap;
	try {
		pagemap = new Pagemap(content, 'pagemap-1.img');
	} catch (error) {
		isRefusal(error);
		return;
	}
	let end = 0;
	for (const { address, bytes } of pagemap.runs) {
		assert.ok(address >= end && address % 4096 === 0 && bytes % 4096 === 0);
		end = address + bytes;
	}
	const again = new Pagemap(encodePagemap(pagemap, pagemap.runs), 'pagemap-1.img');
	assert.is(again.pagesBytes, pagemap.pagesBytes);
	assert.is(again.pagesId, pagemap.pagesId);
}

test(
	'pagemaps',
	() => {
		const number = fc.oneof(fc.nat(3), fc.nat(), fc.maxSafeNat());
		const one = fc.tuple(fc.nat(2 ** 32), number, fc.constantFrom(0, 1, 4, 5, 6, 7), number, fc.nat(120));
		const entry = one.map(([page, compat, flags, pages, other]) =>
			Buffer.concat([
				field(1, page * 4096),
				field(2, compat % 2 ** 32),
				field(4, flags),
				...(pages ? [field(5, pages)] : []),
				...(other > 100 ? [field(other, 1)] : []),
			]),
		);
		const head = fc.nat().map((id) => field(1, id));
		const messages = fc.array(fc.oneof(entry, fc.uint8Array({ maxLength: 20 }).map(Buffer.from)), {
			maxLength: 5,
		});
		const whole = fc.tuple(head, messages).map(([first, rest]) => image(PAGEMAP_MAGIC, first, ...rest));
		fc.assert(fc.property(whole, checkPagemap), runs(20_000));
		const damaged = fc.tuple(whole, fc.nat(), fc.nat(255)).map(([content, at, value]) => {
			content[at % content.length] = value;
			return content.subarray(0, Math.max(8, content.length - (at % 7)));
		});
		fc.assert(fc.property(damaged, checkPagemap), runs(20_000));
	},
	LONG,
);

test.run();

/** Markers of the image stream, as bytes and as values (proto/image.proto). */

import { frame } from '../net/frame.js';
import { image } from '../proto/messages.js';
import { checkImageName } from '../stream/image-name.js';

/** What a marker says. */
export type MarkerBody =
	| { kind: 'file'; name: string }
	| { kind: 'data'; bytes: number }
	| { kind: 'file-end' }
	| { kind: 'image-end' };
/** A marker with its place in the order of all shards. */
export type Marker = MarkerBody & { seq: number };

/** The message of a marker, with its length before it. */
export function encodeMarker(marker: Marker): Uint8Array {
	return frame(image.Marker.encode(fields(marker)).finish());
}

function fields(marker: Marker): image.Marker.$Properties {
	const { seq } = marker;
	switch (marker.kind) {
		case 'file':
			return { seq, filename: marker.name };
		case 'data':
			return { seq, file_data: marker.bytes };
		case 'file-end':
			return { seq, file_eof: true };
		case 'image-end':
			return { seq, image_eof: true };
	}
}

/** Reads the message of a marker (without its length). Throws on anything that is not one; `sender` is for the message. */
export function decodeMarker(message: Uint8Array, sender: string): Marker {
	let marker: image.Marker;
	try {
		marker = image.Marker.decode(message);
	} catch (error) {
		throw new Error(`${sender} sent a message that is no marker`, { cause: error });
	}
	const seq = Number(marker.seq);
	if (!Number.isSafeInteger(seq))
		throw new Error(`${sender} sent the sequence number ${marker.seq}, which is too large`);
	if (marker.filename != null) return { seq, kind: 'file', name: checkImageName(marker.filename, sender) };
	if (marker.file_data != null) return { seq, kind: 'data', bytes: marker.file_data };
	if (marker.file_eof != null) return { seq, kind: 'file-end' };
	if (marker.image_eof != null) return { seq, kind: 'image-end' };
	throw new Error(
		`${sender} sent marker ${seq} with a body that this version does not know: ` +
			'upgrade criu-pipe-streamer here, or use the sender’s version',
	);
}

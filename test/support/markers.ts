/** The image stream, encoded and decoded by hand, so that invalid streams can be made as well. */

/** Part of a stream: the body of a marker (its field and what follows), or raw bytes. */
export interface Part {
	body?: Buffer;
	/** The bytes that follow the marker. */
	payload?: Uint8Array;
	/** Counted by {@link streamOf} if absent. */
	seq?: number;
	raw?: Uint8Array;
}

function varint(value: number): Buffer {
	const bytes: number[] = [];
	let rest = value;
	for (; rest > 0x7f; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
	return Buffer.from([...bytes, rest]);
}

export const file = (name: string | Uint8Array): Part => {
	const bytes = Buffer.from(name as string);
	return { body: Buffer.concat([Buffer.of(0x12), varint(bytes.length), bytes]) };
};
/** `size` is the size in the marker, where it differs from that of the content. */
export const data = (content: Uint8Array | string, size = Buffer.byteLength(content)): Part => ({
	body: Buffer.concat([Buffer.of(0x18), varint(size)]),
	payload: Buffer.from(content as string),
});
export const fileEnd = (): Part => ({ body: Buffer.of(0x20, 1) });
export const imageEnd = (): Part => ({ body: Buffer.of(0x28, 1) });
export const raw = (bytes: Uint8Array | string): Part => ({ raw: Buffer.from(bytes as string) });
export const unknown = (): Part => ({ body: Buffer.of(0x30, 1) });
/** `part` with the sequence number `seq`; the parts after it continue from there. */
export const at = (seq: number, part: Part): Part => ({ ...part, seq });
/** A whole file. */
export const whole = (name: string, content: string): Part[] => [file(name), data(content), fileEnd()];

/** `message` with its length before it. */
export function prefixed(message: Uint8Array): Buffer {
	const length = Buffer.alloc(4);
	length.writeUInt32LE(message.length);
	return Buffer.concat([length, message]);
}

/** The bytes of a stream of one shard. */
export function streamOf(...parts: Part[]): Buffer {
	let next = 0;
	return Buffer.concat(
		parts.map(({ body, payload, seq, raw }) => {
			if (raw) return raw;
			next = seq ?? next;
			// proto3 leaves out a zero.
			const number = next === 0 ? Buffer.alloc(0) : Buffer.concat([Buffer.of(0x08), varint(next)]);
			next++;
			return Buffer.concat([prefixed(Buffer.concat([number, body!])), payload ?? Buffer.alloc(0)]);
		}),
	);
}

/** The markers of one shard, as text: "0 file a.img", "1 data 5", "2 file-end", "3 image-end". */
export function markersIn(stream: Buffer): string[] {
	const found: string[] = [];
	for (let at = 0; at < stream.length; ) {
		const end = at + 4 + stream.readUInt32LE(at);
		let seq = 0;
		let text = 'empty';
		let payload = 0;
		for (at += 4; at < end; ) {
			const key = stream[at++]!;
			let value = 0;
			for (let shift = 1, byte = 0x80; byte & 0x80; shift *= 128) {
				byte = stream[at++]!;
				value += (byte & 0x7f) * shift;
			}
			if (key === 0x08) seq = value;
			else if (key === 0x12) text = `file ${stream.subarray(at, (at += value))}`;
			else if (key === 0x18) text = `data ${(payload = value)}`;
			else if (key === 0x20) text = 'file-end';
			else if (key === 0x28) text = 'image-end';
			else throw new Error(`key ${key} in a marker`);
		}
		found.push(`${seq} ${text}`);
		at += payload;
	}
	return found;
}

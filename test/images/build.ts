/** Images as CRIU writes them, encoded by hand, so that they do not depend on proto/. */

export const PAGEMAP_MAGIC = 0x56084025;
export const CORE_MAGIC = 0x55053847;
const IMG_COMMON_MAGIC = 0x54564319;

function varint(value: number): Buffer {
	const bytes: number[] = [];
	let rest = BigInt(value);
	for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
	return Buffer.from([...bytes, Number(rest)]);
}

/** A field of a message: a number, or a message of its own. */
export function field(number: number, value: number | Buffer): Buffer {
	if (typeof value === 'number') return Buffer.concat([varint(number << 3), varint(value)]);
	return Buffer.concat([varint((number << 3) | 2), varint(value.length), value]);
}

/** An image file of these messages. */
export function image(magic: number, ...messages: Buffer[]): Buffer {
	const word = (value: number) => {
		const bytes = Buffer.alloc(4);
		bytes.writeUInt32LE(value);
		return bytes;
	};
	const framed = messages.flatMap((message) => [word(message.length), message]);
	return Buffer.concat([word(IMG_COMMON_MAGIC), word(magic), ...framed]);
}

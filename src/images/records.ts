/** The common format of CRIU's protobuf images: two magic numbers, then messages, each preceded by its length. */

/** The first magic number of every image except those that hold raw bytes. */
const IMG_COMMON_MAGIC = 0x54564319;
const MAGIC_BYTES = 8;
const LENGTH_BYTES = 4;

/**
 * The messages of an image whose second magic number is `magic`.
 * @param name of the image file, for errors
 * @throws where it is another kind of image, or ends within a message
 */
export function* recordsOf(image: Buffer, magic: number, name: string): Generator<Buffer> {
	if (
		image.length < MAGIC_BYTES ||
		image.readUInt32LE(0) !== IMG_COMMON_MAGIC ||
		image.readUInt32LE(4) !== magic
	)
		throw new Error(`${name} is not an image of the kind that its name says`);
	for (let at = MAGIC_BYTES; at < image.length; ) {
		const start = at + LENGTH_BYTES;
		const end = start <= image.length ? start + image.readUInt32LE(at) : Number.POSITIVE_INFINITY;
		if (end > image.length) throw new Error(`${name} ends within a message`);
		yield image.subarray(start, end);
		at = end;
	}
}

/** The image of these messages. */
export function imageOf(magic: number, records: Iterable<Uint8Array>): Buffer {
	const parts: Uint8Array[] = [words(IMG_COMMON_MAGIC, magic)];
	for (const record of records) parts.push(words(record.length), record);
	return Buffer.concat(parts);
}

function words(...values: number[]): Buffer {
	const bytes = Buffer.allocUnsafe(values.length * LENGTH_BYTES);
	values.forEach((value, i) => {
		bytes.writeUInt32LE(value, i * LENGTH_BYTES);
	});
	return bytes;
}

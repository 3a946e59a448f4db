/**
 * Changes the ports of listening TCP sockets in files.img (--tcp-listen-remap): on the host of the restore the port may be
 * in use, or another one may be published.
 *
 * Only the fields needed for the change are decoded; all others are copied unchanged, whatever CRIU's version. Field numbers
 * are those of CRIU's images/fdinfo.proto and images/sk-inet.proto.
 */
import protobuf from 'protobufjs/minimal.js';
import { MAX_MESSAGE_BYTES } from '../stream/limits.js';

const { Reader, Writer } = protobuf;

/** The magic has two words: that of all images, and that of files.img. */
const MAGIC_BYTES = 8;
/** The field file_entry.isk, an inet socket. */
const FIELD_ISK = 4;
/** Fields of inet_sk_entry. */
const FIELD_PROTO = 5;
const FIELD_STATE = 6;
const FIELD_SRC_PORT = 7;
const IPPROTO_TCP = 6;
/** The state of a listening TCP socket in the kernel. */
const TCP_LISTEN = 10;
/** Maximum length of an entry; a longer one means a damaged image. The longest entries hold a path. */
const MAX_ENTRY = 16 * MAX_MESSAGE_BYTES;

/**
 * files.img with each listening TCP port changed according to `ports` (old to new). Throws where no socket listens on an old
 * port; the error lists the ports with listening sockets.
 */
export function remapListeningPorts(image: Buffer, ports: ReadonlyMap<number, number>): Buffer {
	const found = new Set<number>();
	const parts: Uint8Array[] = [image.subarray(0, MAGIC_BYTES)];
	for (let at = MAGIC_BYTES; at < image.length; ) {
		const length = at + 4 <= image.length ? image.readUInt32LE(at) : Number.POSITIVE_INFINITY;
		const end = at + 4 + length;
		if (length > MAX_ENTRY || end > image.length) {
			throw new Error(
				'cannot change listening ports: files.img is damaged, or of a CRIU that this version does not know',
			);
		}
		const entry = remapEntry(image.subarray(at + 4, end), ports, found);
		const prefix = Buffer.alloc(4);
		prefix.writeUInt32LE(entry.length);
		parts.push(prefix, entry);
		at = end;
	}
	const missing = [...ports.keys()].filter((port) => !found.has(port));
	if (missing.length) {
		const there = found.size ? [...found].sort((a, b) => a - b).join(', ') : 'none';
		throw new Error(
			`cannot change listening ports: nothing listens on port ${missing.join(', ')} in this image; listening ports: ${there}`,
		);
	}
	return Buffer.concat(parts);
}

interface Field {
	number: number;
	/** The whole field, its tag included. */
	bytes: Uint8Array;
	/** The value, if the field is a varint. */
	value: number | undefined;
	/** The bytes, if the field is a message. */
	message: Uint8Array | undefined;
}

function remapEntry(entry: Uint8Array, ports: ReadonlyMap<number, number>, found: Set<number>): Uint8Array {
	return rewrite(entry, (field) => {
		if (field.number !== FIELD_ISK || !field.message) return undefined;
		return remapSocket(field.message, ports, found);
	});
}

function remapSocket(socket: Uint8Array, ports: ReadonlyMap<number, number>, found: Set<number>): Uint8Array {
	const value = (number: number) => fields(socket).find((field) => field.number === number)?.value;
	const port = value(FIELD_SRC_PORT);
	if (value(FIELD_PROTO) !== IPPROTO_TCP || value(FIELD_STATE) !== TCP_LISTEN || port === undefined)
		return socket;
	found.add(port);
	const fresh = ports.get(port);
	if (fresh === undefined) return socket;
	return rewrite(socket, (field) => (field.number === FIELD_SRC_PORT ? fresh : undefined));
}

/** `message` with a new value for each field for which `change` returns one. */
function rewrite(message: Uint8Array, change: (field: Field) => Uint8Array | number | undefined): Uint8Array {
	const parts = fields(message).map((field) => {
		const value = change(field);
		if (value === undefined) return field.bytes;
		const writer = Writer.create();
		if (typeof value === 'number')
			return writer
				.uint32(field.number << 3)
				.uint32(value)
				.finish();
		return writer
			.uint32((field.number << 3) | 2)
			.bytes(value)
			.finish();
	});
	return Buffer.concat(parts);
}

function fields(message: Uint8Array): Field[] {
	const reader = Reader.create(message);
	const result: Field[] = [];
	while (reader.pos < reader.len) {
		const start = reader.pos;
		const tag = reader.uint32();
		const [number, type] = [tag >>> 3, tag & 7];
		let value: number | undefined;
		let inner: Uint8Array | undefined;
		if (type === 0) value = Number(reader.uint64());
		else if (type === 2) inner = reader.bytes();
		else reader.skipType(type);
		result.push({ number, value, message: inner, bytes: message.subarray(start, reader.pos) });
	}
	return result;
}

/** Length-prefixed messages: a little-endian uint32, then that many bytes. */
export const PREFIX_BYTES = 4;

/** `message` with its length before it. */
export function frame(message: Uint8Array): Buffer {
	const result = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
	result.writeUInt32LE(message.length, 0);
	result.set(message, PREFIX_BYTES);
	return result;
}

/** Joins pieces of input into messages; rejects one that is longer than `max` as soon as its length is known. */
export class Deframer {
	#rest: Buffer = Buffer.alloc(0);

	/** `what` names the sender in errors. */
	constructor(
		readonly what: string,
		readonly max: number,
	) {}

	push(bytes: Uint8Array): void {
		this.#rest = this.#rest.length ? Buffer.concat([this.#rest, bytes]) : Buffer.from(bytes);
	}

	/** The next complete message, or undefined until there is more input. */
	next(): Buffer | undefined {
		if (this.#rest.length < PREFIX_BYTES) return undefined;
		const length = this.#rest.readUInt32LE(0);
		if (length > this.max) {
			throw new Error(`${this.what} sent a message of ${length} bytes; ${this.max} are the most`);
		}
		const end = PREFIX_BYTES + length;
		if (this.#rest.length < end) return undefined;
		const message = this.#rest.subarray(PREFIX_BYTES, end);
		this.#rest = this.#rest.subarray(end);
		return message;
	}

	/** Number of bytes that {@link next} has not returned yet. */
	get left(): number {
		return this.#rest.length;
	}

	/** Takes the bytes that {@link next} has not returned: those that follow the last message. */
	takeRest(): Buffer {
		const rest = this.#rest;
		this.#rest = Buffer.alloc(0);
		return rest;
	}
}

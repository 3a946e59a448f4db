/**
 * Messages with descriptors (SCM_RIGHTS) over UNIX sockets. A receiver reuses its structures. Each holds the addresses of
 * others, so all of them are kept referenced here.
 */
import { addressOf, buffer, close, recvmsg, sendmsg } from './calls.js';
import {
	MSG_CMSG_CLOEXEC,
	MSG_CTRUNC,
	MSG_DONTWAIT,
	MSG_NOSIGNAL,
	SCM_RIGHTS,
	SOL_SOCKET,
} from './constants.js';
import { EMFILE } from './errno.js';

/** struct cmsghdr: size_t length, int level, int type. */
const HEADER_BYTES = 16;
/** Room for more descriptors than any peer is allowed to send, so that surplus ones are received and closed. */
const MAX_FDS = 16;

function header(data: Buffer, control: Buffer): { message: Buffer; iovec: Buffer } {
	const iovec = buffer(16);
	iovec.writeBigUInt64LE(addressOf(data), 0);
	iovec.writeBigUInt64LE(BigInt(data.length), 8);
	// struct msghdr: name, namelen (padded), iov, iovlen, control, controllen, flags (padded).
	const message = buffer(56);
	message.writeBigUInt64LE(addressOf(iovec), 16);
	message.writeBigUInt64LE(1n, 24);
	message.writeBigUInt64LE(addressOf(control), 32);
	message.writeBigUInt64LE(BigInt(control.length), 40);
	return { message, iovec };
}

/**
 * The result of {@link Receiver.receive}: the number of bytes in {@link Receiver.data} (or a negative errno), and the
 * descriptors.
 */
export interface Received {
	bytes: number;
	fds: number[];
}

/** Receives bytes and descriptors. The kernel never returns the bytes of two messages with descriptors in one call. */
export class Receiver {
	readonly data: Buffer;
	readonly #control = buffer(HEADER_BYTES + MAX_FDS * 4);
	readonly #message: Buffer;
	readonly #iovec: Buffer;

	/** `bytes`: the maximum that one call takes. */
	constructor(bytes: number) {
		this.data = buffer(bytes);
		({ message: this.#message, iovec: this.#iovec } = header(this.data, this.#control));
	}

	/**
	 * Never blocks: `bytes` is -EAGAIN when there is no input, 0 at the end of input. The caller owns `fds` (close-on-exec).
	 */
	receive(socket: number): Received {
		this.#message.writeUInt32LE(this.#control.length, 40);
		this.#iovec.writeUInt32LE(this.data.length, 8);
		const bytes = recvmsg(socket, this.#message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		const fds: number[] = [];
		if (bytes < 0) return { bytes, fds };
		const length = this.#message.readUInt32LE(40);
		const control = this.#control;
		for (let at = 0; at + HEADER_BYTES <= length; ) {
			const size = control.readUInt32LE(at);
			const rights =
				control.readInt32LE(at + 8) === SOL_SOCKET && control.readInt32LE(at + 12) === SCM_RIGHTS;
			for (let i = at + HEADER_BYTES; rights && i + 4 <= at + size; i += 4) fds.push(control.readInt32LE(i));
			at += Math.max(HEADER_BYTES, (size + 7) & ~7);
		}
		// The kernel dropped a descriptor because this process is at its limit: the message is unusable.
		if (this.#message.readInt32LE(48) & MSG_CTRUNC) {
			closeAll(fds);
			return { bytes: -EMFILE, fds: [] };
		}
		return { bytes, fds };
	}
}

/** Sends `bytes` with `fds`, without blocking; returns the result of sendmsg. The caller keeps its descriptors. */
export function sendFds(socket: number, bytes: Uint8Array, fds: readonly number[]): number {
	const data = buffer(bytes.length);
	data.set(bytes);
	const control = buffer(HEADER_BYTES + ((fds.length * 4 + 7) & ~7));
	control.writeBigUInt64LE(BigInt(HEADER_BYTES + fds.length * 4), 0);
	control.writeInt32LE(SOL_SOCKET, 8);
	control.writeInt32LE(SCM_RIGHTS, 12);
	for (const [i, fd] of fds.entries()) control.writeInt32LE(fd, HEADER_BYTES + i * 4);
	const { message, iovec } = header(data, control);
	const sent = sendmsg(socket, message, MSG_DONTWAIT | MSG_NOSIGNAL);
	// Referenced after the call, so that they are not collected while the kernel reads them.
	return iovec.length && control.length && data.length ? sent : 0;
}

/** Closes descriptors that were received and are not used. */
export function closeAll(fds: readonly number[]): void {
	for (const fd of fds) close(fd);
}

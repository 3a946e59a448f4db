/**
 * A stand-in for CRIU: its image socket for a dump and for a restore, with CRIU's protocol (a request, then one byte with
 * the streamer's end of a new pipe). Messages are encoded by hand, so that they do not depend on proto/.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { write as libcWrite } from '../../src/libc/calls.js';
import { callError, EAGAIN, ECONNREFUSED, ENOENT } from '../../src/libc/errno.js';
import { Receiver, sendFds } from '../../src/libc/message.js';
import { EPOLLIN, EPOLLOUT } from '../../src/libc/poller.js';
import { waitFor } from '../../src/libc/wait.js';
import { connectUnix } from '../../src/net/unix-socket.js';
import { End, pipe, type ReadEnd, type WriteEnd } from './pipe.js';
import type { Streamer } from './streamer.js';
import { until } from './until.js';

/** `{ filename = 1 }` with its length before it; the length of a name is a varint. */
export function requestFor(name: string | Uint8Array): Buffer {
	const bytes = Buffer.from(name as string);
	const size = bytes.length < 0x80 ? [bytes.length] : [(bytes.length & 0x7f) | 0x80, bytes.length >> 7];
	const message = Buffer.concat([Buffer.from([0x0a, ...size]), bytes]);
	const length = Buffer.alloc(4);
	length.writeUInt32LE(message.length);
	return Buffer.concat([length, message]);
}

/** A work dir, or better a streamer with its work dir: when that ends, the wait for its socket ends as well. */
export type Where = string | { work: string; process: Streamer };

/** CRIU's connection: the common part of a dump and a restore. */
class Connection extends End {
	/** CRIU serialises its requests by a lock, and so does this class. */
	#turn: Promise<unknown> = Promise.resolve();

	/** Connects to `name` in a work dir as soon as it exists. */
	static async to(where: Where, name: string): Promise<number> {
		const path = join(typeof where === 'string' ? where : where.work, name);
		return until(`the socket ${path}`, () => {
			const process = typeof where === 'string' ? undefined : where.process;
			if (process?.ended)
				throw new Error(`it ended (${process.ended}) before CRIU connected: ${process.stderr}`);
			const fd = connectUnix(path);
			if (fd >= 0) return fd;
			if (fd !== -ENOENT && fd !== -ECONNREFUSED && fd !== -EAGAIN)
				throw callError(`cannot connect to ${path}`, fd);
			return undefined;
		});
	}

	protected inTurn<T>(work: () => Promise<T>): Promise<T> {
		const result = this.#turn.then(work);
		this.#turn = result.catch(() => undefined);
		return result;
	}

	/** Sends raw bytes, also invalid ones. */
	async send(bytes: Uint8Array): Promise<void> {
		for (let at = 0; at < bytes.length; ) {
			const sent = libcWrite(this.fd, bytes.subarray(at), bytes.length - at);
			if (sent >= 0) at += sent;
			else if (sent === -EAGAIN) await waitFor(this.fd, EPOLLOUT);
			else throw callError('the streamer took no request', sent);
		}
	}

	/** Sends one byte with `ends`, which the streamer owns from then on. */
	async sendEnds(...ends: End[]): Promise<void> {
		for (;;) {
			const sent = sendFds(
				this.fd,
				Buffer.of(0),
				ends.map(({ fd }) => fd),
			);
			if (sent === 1) break;
			if (sent !== -EAGAIN) throw callError('the streamer took no pipe', sent);
			await waitFor(this.fd, EPOLLOUT);
		}
		for (const end of ends) end.close();
	}
}

/** The side of `criu dump --stream`. */
export class StandInDump extends Connection {
	static async connect(to: Where): Promise<StandInDump> {
		return new StandInDump(await Connection.to(to, 'streamer-capture.sock'));
	}

	/** Opens the image file `name`; the caller writes and closes it. */
	file(name: string): Promise<WriteEnd> {
		return this.inTurn(async () => {
			const { readEnd, writeEnd } = pipe();
			readEnd.forChild();
			await this.send(requestFor(name));
			await this.sendEnds(readEnd);
			return writeEnd;
		});
	}

	/** A whole image file. */
	async put(name: string, content: Uint8Array | string): Promise<void> {
		await (await this.file(name)).end(Buffer.from(content as string));
	}

	/** Writes files, with inventory.img as the last one, as CRIU does when a dump succeeded, and closes the connection. */
	async finish(files: Record<string, Uint8Array | string> = {}): Promise<void> {
		for (const [name, content] of Object.entries(files)) await this.put(name, content);
		await this.put('inventory.img', 'inventory');
		this.close();
	}
}

/** The side of `criu restore --stream`. */
export class StandInRestore extends Connection {
	readonly #receiver = new Receiver(6);

	static async connect(to: Where): Promise<StandInRestore> {
		return new StandInRestore(await Connection.to(to, 'streamer-serve.sock'));
	}

	/** The image file `name`, for the caller to read and close; undefined where the image has none. */
	open(name: string): Promise<ReadEnd | undefined> {
		return this.inTurn(async () => {
			await this.send(requestFor(name));
			// The reply is its length (2), and { exists = 1 }.
			const reply = await this.#receive(6);
			if (reply.readUInt32LE(0) !== 2 || reply[4] !== 0x08)
				throw new Error(`no reply: ${reply.toString('hex')}`);
			if (reply[5] === 0) return undefined;
			const { readEnd, writeEnd } = pipe();
			writeEnd.forChild();
			await this.sendEnds(writeEnd);
			return readEnd;
		});
	}

	/** The content of `name`; undefined where the image has no such file. */
	async read(name: string): Promise<Buffer | undefined> {
		return (await this.open(name))?.all();
	}

	async #receive(bytes: number): Promise<Buffer> {
		let reply = Buffer.alloc(0);
		while (reply.length < bytes) {
			const { bytes: got } = this.#receiver.receive(this.fd);
			if (got === -EAGAIN) await waitFor(this.fd, EPOLLIN);
			else if (got < 0) throw callError('the streamer gave no reply', got);
			else if (got === 0) throw new Error('the streamer closed the connection');
			else reply = Buffer.concat([reply, this.#receiver.data.subarray(0, got)]);
		}
		return reply;
	}
}

/** The sorted names in a directory: tests check with them that no other files were created. */
export function namesIn(directory: string): string[] {
	return readdirSync(directory).sort();
}

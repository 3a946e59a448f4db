/** Peers that are not this program, and what they send. */
import { existsSync } from 'node:fs';
import { createServer, connect as netConnect, type Socket } from 'node:net';
import { join } from 'node:path';
import { Deframer, frame } from '../../src/net/frame.js';
import { hello, type LinkSettings } from '../../src/peer/handshake.js';
import { link } from '../../src/proto/messages.js';
import { afterwards } from '../support/cleanup.js';
import { temporaryDirectory } from '../support/temporary.js';
import { until } from '../support/until.js';

/** A server with another protocol. */
export async function listenRaw(serve: (socket: Socket) => void): Promise<{ address: string }> {
	const path = join(temporaryDirectory(), 'socket');
	const sockets = new Set<Socket>();
	const server = createServer({ allowHalfOpen: true }, (socket) => {
		sockets.add(socket);
		socket.on('error', () => {});
		serve(socket);
	});
	await new Promise<void>((resolve) => server.listen(path, resolve));
	afterwards(() => {
		for (const socket of sockets) socket.destroy();
		server.close();
	});
	return { address: `unix:${path}` };
}

/** A client that is none of ours: sends `bytes`, and resolves with the answer's reason, or undefined if it was just closed. */
export async function sendRaw(address: string, bytes: Uint8Array): Promise<string | undefined> {
	const socket = await open(address);
	socket.write(bytes);
	const answer = new Deframer('the listener', 1 << 20);
	for await (const chunk of socket) answer.push(chunk);
	const message = answer.next();
	return message && (link.Welcome.decode(message).refused?.reason ?? undefined);
}

export async function open(address: string): Promise<Socket> {
	const path = address.slice('unix:'.length);
	await until('the listener', () => existsSync(path));
	const socket = netConnect({ path, allowHalfOpen: true });
	afterwards(() => socket.destroy());
	socket.on('error', () => {});
	await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
	return socket;
}

/** Resolves when the other side has closed `socket`: input that it leaves unread turns the end into a reset. */
export async function closed(socket: Socket): Promise<void> {
	if (socket.destroyed || socket.readableEnded) return;
	await new Promise((resolve) => socket.resume().once('close', resolve).once('end', resolve));
}

const SETTINGS = { shards: 1, sends: true, token: Buffer.from('secret'), stallMillis: 0 } as LinkSettings;
const STREAM = Buffer.alloc(16, 7);

export function helloWith(changes: Partial<link.IHello> = {}): Uint8Array {
	const right = link.Hello.decode(hello(SETTINGS, STREAM, 0));
	return frame(link.Hello.encode({ ...right, ...changes }).finish());
}

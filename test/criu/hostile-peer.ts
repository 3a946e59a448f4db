/** What a peer on CRIU's socket does that CRIU never does, and the error about it. */
import { closeSync, openSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { close, write } from '../../src/libc/calls.js';
import { sendFds } from '../../src/libc/message.js';
import { makePipe } from '../../src/libc/pipes.js';
import { prefixed } from '../support/markers.js';
import { requestFor } from '../support/stand-in.js';

/** What a peer does on its end of the socket, and the expected error. */
export interface Case {
	what: string;
	does(near: number): void;
	/** Keeps its end open, so that the error is about its input and not about the end. */
	stays?: boolean;
	message: RegExp;
}

export const length = (bytes: number) => {
	const result = Buffer.alloc(4);
	result.writeUInt32LE(bytes);
	return result;
};
export const say = (near: number, bytes: Uint8Array) =>
	assert.is(write(near, bytes, bytes.length), bytes.length);
export const NAME = 'pages-1.img';

/** Sends one byte with `count` descriptors of a fresh pipe. */
export function sendPipes(near: number, count: number, bytes = 1): void {
	const { readEnd, writeEnd } = makePipe() as { readEnd: number; writeEnd: number };
	assert.is(sendFds(near, Buffer.alloc(bytes), Array(count).fill(readEnd)), bytes);
	close(readEnd);
	close(writeEnd);
}

export function sendFile(near: number, path: string): void {
	const fd = openSync(path, 'r');
	assert.is(sendFds(near, Buffer.of(0), [fd]), 1);
	closeSync(fd);
}

export const cases: Case[] = [
	{
		what: 'no descriptor',
		does: (near) => say(near, Buffer.concat([requestFor(NAME), Buffer.of(0)])),
		stays: true,
		message: /no descriptor for "pages-1\.img", where one pipe belongs/,
	},
	{
		what: 'the end instead of a descriptor',
		does: (near) => say(near, requestFor(NAME)),
		message: /closed its socket before it sent a pipe for "pages-1\.img"/,
	},
	...[2, 16, 17, 100].map((count) => ({
		what: `${count} descriptors`,
		does(near: number) {
			say(near, requestFor(NAME));
			sendPipes(near, count);
		},
		stays: true,
		message:
			count <= 16 ? new RegExp(`${count} descriptors and 1 bytes for "pages-1\\.img"`) : /image socket/,
	})),
	{
		what: 'a descriptor with two bytes',
		does(near) {
			say(near, requestFor(NAME));
			sendPipes(near, 1, 2);
		},
		stays: true,
		message: /sent 1 descriptors/,
	},
	...['/dev/null', '/', '/proc/self/status'].map((path) => ({
		what: `${path} instead of a pipe`,
		does(near: number) {
			say(near, requestFor(NAME));
			sendFile(near, path);
		},
		stays: true,
		message: /a descriptor for "pages-1\.img" that is no pipe/,
	})),
	{
		what: 'a descriptor before any request',
		does: (near) => sendPipes(near, 1),
		stays: true,
		message: /1 descriptors that it was not asked for/,
	},
	{
		what: 'a request that carries a descriptor',
		does(near) {
			const { readEnd, writeEnd } = makePipe() as { readEnd: number; writeEnd: number };
			sendFds(near, requestFor(NAME), [readEnd]);
			close(readEnd);
			close(writeEnd);
		},
		stays: true,
		message: /1 descriptors that it was not asked for/,
	},
	{
		what: 'a length of 4 GB',
		does: (near) => say(near, length(2 ** 32 - 1)),
		stays: true,
		message: /a message of 4294967295 bytes/,
	},
	{
		what: 'a length just too large',
		does: (near) => say(near, length(10_241)),
		stays: true,
		message: /a message of 10241 bytes/,
	},
	{
		what: 'half a length',
		does: (near) => say(near, Buffer.of(5, 0)),
		message: /in the middle of a message/,
	},
	{
		what: 'half a message',
		does: (near) => say(near, requestFor(NAME).subarray(0, 9)),
		message: /in the middle of a message/,
	},
	{
		what: 'no name',
		does: (near) => say(near, prefixed(Buffer.alloc(0))),
		stays: true,
		message: /cannot be read|is empty/,
	},
	{
		what: 'no protobuf',
		does: (near) => say(near, prefixed(Buffer.of(255, 255, 255))),
		stays: true,
		message: /cannot be read; it is not CRIU/,
	},
	{
		what: 'a name that is a path',
		does: (near) => say(near, requestFor('../etc/passwd')),
		stays: true,
		message: /"\.\.\/etc\/passwd", which holds a slash/,
	},
	{
		what: 'text',
		does: (near) => say(near, Buffer.from('GET / HTTP/1.1\r\n\r\n')),
		stays: true,
		message: /a message of \d+ bytes; it is not CRIU/,
	},
];

/** A peer on CRIU's socket that sends any input. */
import { closeSync, openSync } from 'node:fs';
import fc from 'fast-check';
import { close, fcntl, write } from '../../src/libc/calls.js';
import { F_GETPIPE_SZ } from '../../src/libc/constants.js';
import { sendFds } from '../../src/libc/message.js';
import { makePipe } from '../../src/libc/pipes.js';
import { prefixed } from '../support/markers.js';
import { requestFor } from '../support/stand-in.js';
import { anyMessage, anyName, goodName } from './inputs.js';

/** The kinds of descriptors that are sent. */
export type Sent = 'the right end' | 'the other end' | 'a file' | 'a directory' | 'the socket itself';
const sent = fc.constantFrom<Sent>(
	'the right end',
	'the other end',
	'a file',
	'a directory',
	'the socket itself',
);

export type Action =
	| { kind: 'request'; name: string }
	| { kind: 'fds'; fds: Sent[]; bytes: number }
	| { kind: 'bytes'; bytes: Buffer };

const action: fc.Arbitrary<Action> = fc.oneof(
	{ weight: 3, arbitrary: anyName.map((name) => ({ kind: 'request' as const, name })) },
	{
		weight: 3,
		arbitrary: fc.record({
			kind: fc.constant('fds' as const),
			fds: fc.array(sent, { minLength: 1, maxLength: 20 }),
			bytes: fc.integer({ min: 1, max: 3 }),
		}),
	},
	{ weight: 1, arbitrary: anyMessage.map((bytes) => ({ kind: 'bytes' as const, bytes })) },
	{ weight: 1, arbitrary: anyMessage.map((bytes) => ({ kind: 'bytes' as const, bytes: prefixed(bytes) })) },
);
/** A file as CRIU sends or requests it. */
const validFile = goodName.map((name): Action[] => [
	{ kind: 'request', name },
	{ kind: 'fds', fds: ['the right end'], bytes: 1 },
]);
export const actions = fc
	.array(
		fc.oneof({ weight: 3, arbitrary: validFile }, { weight: 1, arbitrary: action.map((one) => [one]) }),
		{
			maxLength: 6,
		},
	)
	.map((all) => all.flat());

export interface Peer {
	/** What the streamer does with a pipe that it gets: 'read' (a dump) or 'write' (a restore). */
	streamer: 'read' | 'write';
	/** Bytes for each pipe that the streamer reads. */
	payload: Buffer;
}

/** Performs the actions on the socket `near` without waiting, and closes it at the end, also after an error. */
export function act(near: number, all: readonly Action[], { streamer, payload }: Peer): void {
	const own: number[] = [];
	const make = (what: Sent): number => {
		if (what === 'the socket itself') return near;
		if (what === 'a file' || what === 'a directory')
			return openSync(what === 'a file' ? '/dev/null' : '/', 'r');
		const { readEnd, writeEnd } = makePipe() as { readEnd: number; writeEnd: number };
		const [theirs, ours] = streamer === 'read' ? [readEnd, writeEnd] : [writeEnd, readEnd];
		const [given, kept] = what === 'the right end' ? [theirs, ours] : [ours, theirs];
		if (kept === writeEnd && payload.length) write(kept, payload, payload.length);
		own.push(kept);
		return given;
	};
	for (const one of all) {
		if (one.kind === 'fds') {
			const fds = one.fds.map(make);
			sendFds(near, Buffer.alloc(one.bytes), fds);
			for (const fd of fds) if (fd !== near) closeAny(fd);
		} else {
			const bytes = one.kind === 'bytes' ? one.bytes : requestFor(one.name);
			if (bytes.length) write(near, bytes, bytes.length);
		}
	}
	close(near);
	for (const fd of own) close(fd);
}

function closeAny(fd: number): void {
	if (fcntl(fd, F_GETPIPE_SZ, 0) > 0) close(fd);
	else closeSync(fd);
}

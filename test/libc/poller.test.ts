// The poll set, where descriptors are closed and reused without it.
import { close } from '../../src/libc/calls.js';
import { makePipe } from '../../src/libc/pipes.js';
import { EPOLLIN, EPOLLOUT, poller } from '../../src/libc/poller.js';
import { waitFor } from '../../src/libc/wait.js';
import { suite } from '../support/suite.js';

const test = suite('the poll set');

function ends(): { readEnd: number; writeEnd: number } {
	const made = makePipe();
	if (typeof made === 'number') throw new Error('cannot make a pipe');
	return made;
}

test('numbers of descriptors closed elsewhere become timers', async () => {
	const pipes = Array.from({ length: 8 }, ends);
	for (const { writeEnd } of pipes) await waitFor(writeEnd, EPOLLOUT);
	for (const { readEnd, writeEnd } of pipes) for (const fd of [readEnd, writeEnd]) close(fd);
	await Promise.all(Array.from({ length: 24 }, () => poller.pause(100)));
});

test('numbers of descriptors closed elsewhere become pipes', async () => {
	const first = ends();
	await waitFor(first.writeEnd, EPOLLOUT);
	close(first.writeEnd);
	close(first.readEnd);
	const second = ends();
	await waitFor(second.writeEnd, EPOLLOUT);
	poller.close(second.writeEnd);
	await waitFor(second.readEnd, EPOLLIN);
	poller.close(second.readEnd);
});

test.run();

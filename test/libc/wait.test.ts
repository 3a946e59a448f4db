// Waiting for a descriptor: the ends of a wait, after which nothing is left of it.

import * as assert from 'uvu/assert';
import { onAbort } from '../../src/libc/abort.js';
import { makePipe } from '../../src/libc/pipes.js';
import { EPOLLIN, EPOLLOUT, poller } from '../../src/libc/poller.js';
import { waitFor } from '../../src/libc/wait.js';
import { afterwards } from '../support/cleanup.js';
import { suite } from '../support/suite.js';

const test = suite('waiting for a descriptor');

function ends(): { readEnd: number; writeEnd: number } {
	const made = makePipe();
	if (typeof made === 'number') throw new Error('cannot make a pipe');
	afterwards(() => {
		poller.close(made.readEnd);
		poller.close(made.writeEnd);
	});
	return made;
}

const reasonOf = (work: Promise<unknown>) =>
	work.then(
		() => undefined,
		(error: unknown) => error,
	);

test('resolves with the events', async () => {
	const { writeEnd } = ends();
	const { signal } = new AbortController();
	assert.ok((await waitFor(writeEnd, EPOLLOUT, { signal, deadline: Date.now() + 60_000 })) & EPOLLOUT);
});

test('resolves with 0 when the deadline passes, and can wait again', async () => {
	const { readEnd } = ends();
	assert.is(await waitFor(readEnd, EPOLLIN, { deadline: Date.now() + 5 }), 0);
	assert.is(await waitFor(readEnd, EPOLLIN, { deadline: Date.now() - 5 }), 0);
});

test('rejects with the reason of the signal, and can wait again', async () => {
	const { readEnd } = ends();
	const controller = new AbortController();
	const { signal } = controller;
	const reason = new Error('enough');
	const waiting = reasonOf(waitFor(readEnd, EPOLLIN, { signal }));
	controller.abort(reason);
	controller.abort(new Error('a consequence'));
	assert.is(await waiting, reason);
	assert.is(await reasonOf(waitFor(readEnd, EPOLLIN, { signal })), reason);
	assert.is(await waitFor(readEnd, EPOLLIN, { deadline: Date.now() + 5 }), 0);
});

test('a wait whose descriptor became ready in the same turn in which another ended the run rejects', async () => {
	const [first, second] = [ends(), ends()];
	const controller = new AbortController();
	const { signal } = controller;
	const reason = new Error('enough');
	const waiting = reasonOf(waitFor(second.writeEnd, EPOLLOUT, { signal }));
	poller.once(first.writeEnd, EPOLLOUT, () => controller.abort(reason));
	assert.is(await waiting, reason);
});

test('a signal has one listener, however many waits there are', async () => {
	const { signal } = new AbortController();
	let listeners = 0;
	const listen = signal.addEventListener.bind(signal);
	signal.addEventListener = ((...args: Parameters<typeof listen>) => {
		listeners++;
		listen(...args);
	}) as typeof listen;
	for (let i = 0; i < 100; i++) await waitFor(ends().writeEnd, EPOLLOUT, { signal });
	assert.is(listeners, 1);
});

test('a removed callback is not called', () => {
	const controller = new AbortController();
	const called: string[] = [];
	onAbort(controller.signal, () => called.push('first'));
	onAbort(controller.signal, () => called.push('removed'))();
	controller.abort();
	onAbort(controller.signal, () => called.push('late'));
	assert.equal(called, ['first', 'late']);
});

test.run();

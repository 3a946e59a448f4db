/**
 * CRIU's socket, on a dump and on a restore: whatever the peer does, the run ends with a message, and releases its
 * resources.
 */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { capture } from '../../src/capture/capture.js';
import { ConnectedSocket } from '../../src/criu/socket.js';
import { serve } from '../../src/restore/serve.js';
import { BufferFile } from '../../src/stores/buffer-file.js';
import { Image, type ReadableFile } from '../../src/stream/image.js';
import { descriptorsAtFirst, openDescriptors } from '../support/descriptors.js';
import { markersIn } from '../support/markers.js';
import { pipe } from '../support/pipe.js';
import { socketPairs } from '../support/socket-pair.js';
import { suite } from '../support/suite.js';
import { until } from '../support/until.js';
import { isRefusal, runs } from './inputs.js';
import { type Action, act, actions } from './peer.js';

const test = suite('a peer on CRIU’s socket');
const LONG = { seconds: 20_000 };
/** Far more than any input needs. */
const HANG_SECONDS = 60;

async function ends<T>(what: Promise<T>): Promise<T> {
	let timer: NodeJS.Timeout | undefined;
	const hang = new Promise<never>((_, reject) => {
		timer = setTimeout(() => reject(new TypeError('it hangs')), HANG_SECONDS * 1000);
	});
	return Promise.race([what, hang]).finally(() => clearTimeout(timer));
}

/** A capture of a dump that performs the actions `all`. */
async function captured(far: number, near: number, all: Action[], payload: Buffer, byReference: boolean) {
	const { readEnd, writeEnd } = pipe();
	const reading = readEnd.all();
	act(near, all, { streamer: 'read', payload });
	let failure: unknown;
	try {
		const { criuClosed } = await ends(
			capture({
				criu: new ConnectedSocket(far),
				shards: [{ fd: writeEnd.fd, name: 'the shard', stallMillis: 0 }],
				extFiles: [],
				plan: () => ({ references: byReference ? 'always' : 'never' }),
				log: { info() {} },
				allowIncomplete: false,
				onStart() {},
			}),
		);
		await ends(criuClosed.catch(isRefusal));
	} catch (error) {
		isRefusal((failure = error));
	}
	writeEnd.close();
	const stream = await reading;
	const isWhole = (() => {
		try {
			return markersIn(stream).at(-1)?.endsWith('image-end') === true;
		} catch {
			return false;
		}
	})();
	assert.is(isWhole, failure === undefined, 'the stream has its end if and only if the capture succeeded');
	const asked = all.filter((one) => one.kind === 'request').map(({ name }) => name);
	if (isWhole) assert.ok(asked.includes('inventory.img'), 'and it has all required files');
}

test(
	'on a dump',
	async () => {
		const pair = socketPairs();
		const payloads = [Buffer.alloc(0), Buffer.from('a few bytes'), Buffer.alloc(60_000, 1)];
		const one = async (all: Action[], payload = payloads[1]!, byReference = false) => {
			const { near, far } = pair();
			await captured(far, near, all, payload, byReference);
		};
		await one([]);
		const before = await descriptorsAtFirst();
		await fc.assert(fc.asyncProperty(actions, fc.constantFrom(...payloads), fc.boolean(), one), runs(2500));
		await until('every descriptor to be closed', () => openDescriptors() <= before);
	},
	LONG,
);

test(
	'on a restore',
	async () => {
		const pair = socketPairs();
		const image = new Image<ReadableFile>();
		for (const [i, name] of ['a.img', 'inventory.img', 'pages-1.img'].entries())
			image.add(new BufferFile(name, Buffer.alloc(i * 40_000, i)));
		const one = async (all: Action[]) => {
			const { near, far } = pair();
			act(near, all, { streamer: 'write', payload: Buffer.alloc(0) });
			await ends(serve({ criu: new ConnectedSocket(far), image })).catch(isRefusal);
		};
		await one([]);
		const before = await descriptorsAtFirst();
		await fc.assert(fc.asyncProperty(actions, one), runs(2500));
		await until('every descriptor to be closed', () => openDescriptors() <= before);
	},
	LONG,
);

test.run();

/**
 * Numbers on the command line: each is accepted at the ends of its range, and refused outside of it, with an error that has
 * the range.
 */
import * as assert from 'uvu/assert';
import { bytesWaiting, pipeSize } from '../../src/libc/pipes.js';
import { definitions } from '../../src/options/definitions.js';
import { readOptions } from '../../src/options/resolve.js';
import { accepted, hello, type LinkSettings, readHello, readWelcome } from '../../src/peer/handshake.js';
import { UsageError } from '../../src/runtime/errors.js';
import { content } from '../support/content.js';
import { StandInDump } from '../support/stand-in.js';
import { startCapture } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { until } from '../support/until.js';

interface Range {
	option: string;
	taken: string[];
	refused: string[];
	/** The range and its unit. */
	says: RegExp;
}

const DESCRIPTOR = /is no file descriptor, a number from 0 to 2147483647/;
const ranges: Range[] = [
	{
		option: '--stall-timeout',
		taken: ['0', '0.001', '2147483', '2147483.000'],
		refused: ['0.0001', '2147483.001', '2147484', '99999999', '1e3', '-1', 'NaN'],
		says: /is no number of seconds: 0 \(never\), or 0\.001 to 2147483/,
	},
	{
		option: '--memory-limit',
		taken: ['0', '9007199254740991', '8191T'],
		refused: ['9007199254740992', '8192T', '1.5G', '4X'],
		says: /is no size from 0 to 9007199254740991 bytes, as 512M or 4G/,
	},
	{
		option: '--criu-clients',
		taken: ['1', '1000000'],
		refused: ['0', '1000001', '1.5'],
		says: /is no number of connections from 1 to 1000000/,
	},
	{
		option: '--shards',
		taken: ['1', '32'],
		refused: ['0', '33', 'x'],
		says: /is no number of connections from 1 to 32/,
	},
	{ option: '--verbosity', taken: ['0', '4'], refused: ['5', '-1', '1.5'], says: /is no level from 0 to 4/ },
	{
		option: '--tcp-listen-remap',
		taken: ['1:65535', '65535:1'],
		refused: ['0:1', '1:65536', '65536:1'],
		says: /is not old:new, two ports from 1 to 65535/,
	},
	{ option: '--shard-fds', taken: ['2147483647'], refused: ['2147483648', '-1'], says: DESCRIPTOR },
	{ option: '--progress-fd', taken: ['2147483647'], refused: ['2147483648'], says: DESCRIPTOR },
	{ option: '--status-fd', taken: ['2147483647'], refused: ['2147483648'], says: DESCRIPTOR },
	{ option: '--criu-fd', taken: ['2147483647'], refused: ['2147483648'], says: DESCRIPTOR },
	{ option: '--ext-file-fds', taken: ['a:2147483647'], refused: ['a:2147483648'], says: DESCRIPTOR },
];

const defaults = Object.fromEntries(
	Object.entries(definitions).flatMap(([name, each]) =>
		each.default === undefined ? [] : [[name, each.default]],
	),
);

/** The error about an option; empty where it is accepted. */
function errorOf(option: string, value: string): string {
	try {
		readOptions('serve', { ...defaults, [option.slice(2)]: value });
		return '';
	} catch (error) {
		assert.instance(error, UsageError);
		return (error as Error).message;
	}
}

const test = suite('ranges');

for (const { option, taken, refused, says } of ranges) {
	test(option, () => {
		for (const value of taken) assert.is(errorOf(option, value), '', value);
		for (const value of refused) assert.match(errorOf(option, value), says, value);
	});
}

test('a reader that pauses, with the longest --stall-timeout', async () => {
	const { process, work, shards } = startCapture({ args: ['--stall-timeout', '2147483'] });
	const [shard] = shards;
	const dump = await StandInDump.connect({ work, process });
	const out = await dump.file('pages-1.img');
	const writing = out.end(content(1, 9_000_000));
	await until('the stream to stall', () => bytesWaiting(shard!.fd) > pipeSize(shard!.fd) / 2);
	const reading = shard!.count();
	await writing;
	await dump.finish();
	await process.ends();
	assert.ok((await reading) > 9_000_000);
});

/** The stall timeouts of the two sides of a connection. */
const settings = { shards: 1, sends: true, token: undefined, stallMillis: 0 } as LinkSettings;

test('the --stall-timeout of the other side', () => {
	const from = (stallMillis: number) => hello({ ...settings, stallMillis }, Buffer.alloc(16), 0);
	const here = { ...settings, sends: false };
	assert.is(readHello(here, from(2_147_483_000)).stallMillis, 2_147_483_000);
	assert.throws(() => readHello(here, from(2_147_483_001)), /2147483001 ms is out of range: 2147483000/);
	assert.is(
		readWelcome('there', accepted({ ...here, stallMillis: 2_147_483_000 })).stallMillis,
		2_147_483_000,
	);
	assert.throws(
		() => readWelcome('there', accepted({ ...here, stallMillis: 4_294_967_295 })),
		/^there has .*4294967295 ms is out of/,
	);
});

test.run();

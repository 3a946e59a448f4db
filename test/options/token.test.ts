/** --token-file: which files it takes. */
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { linked, sender } from '../peer/drive.js';
import { unixAddress } from '../support/addresses.js';
import { failureOf } from '../support/failure.js';
import { tokenFile } from '../support/secrets.js';
import { suite } from '../support/suite.js';
import { temporaryDirectory } from '../support/temporary.js';

const test = suite('--token-file');

const files: [what: string, text: string, mode: number, expected: RegExp][] = [
	['that others can read', 'secret', 0o644, /is open to others than its owner: chmod 600 \//],
	['that the group can read', 'secret', 0o640, /is open to others/],
	['that is empty', '', 0o600, /is empty/],
	['that holds a line end only', '\n', 0o600, /is empty/],
	['that is too long', 'x'.repeat(5000), 0o600, /is longer than 4096 bytes/],
];
for (const [what, text, mode, expected] of files) {
	test(`a file ${what} is refused`, async () => {
		const given = { connect: [unixAddress()], 'token-file': tokenFile(text, mode) };
		assert.match((await failureOf(sender(given))).message, expected);
	});
}

test('a file that does not exist is refused', async () => {
	const path = join(temporaryDirectory(), 'none');
	const error = await failureOf(sender({ connect: [unixAddress()], 'token-file': path }));
	assert.match((error.cause as Error).message, /ENOENT.*none/);
});

test('line ends at its end are ignored', async () => {
	await linked({}, { 'token-file': tokenFile('a b\r\n') }, { 'token-file': tokenFile('a b') });
});

test('a listener without a token accepts connections with any token', async () => {
	await linked({}, { 'token-file': tokenFile() });
});

test.run();

/** Messages name options only where their reader is known, and there in the names that the reader has for them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import * as assert from 'uvu/assert';
import { definitions } from '../../src/options/definitions.js';
import { describeWithHint } from '../../src/options/hints.js';
import { type ErrorCode, StreamError } from '../../src/runtime/stream-error.js';
import { askFinished } from '../support/question.js';
import { StandInDump } from '../support/stand-in.js';
import { startCapture } from '../support/streamer.js';
import { suite } from '../support/suite.js';

const test = suite('hints about options');
const root = fileURLToPath(new URL('../../src', import.meta.url));

/** Where a reader of messages is known, by the beginning of the path. */
const NAMING = ['options/', 'cli/', 'daemon/', 'api/', 'hook.ts'];
const sources = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(
	(path) => path.endsWith('.ts') && !path.startsWith('proto/'),
);

/** The text of each string and template in the file at `path`. */
function stringsOf(path: string): string[] {
	const strings: string[] = [];
	const visit = (node: ts.Node): void => {
		if (ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isTemplateMiddleOrTemplateTail(node))
			strings.push(node.text);
		ts.forEachChild(node, visit);
	};
	visit(ts.createSourceFile(path, readFileSync(join(root, path), 'utf8'), ts.ScriptTarget.Latest));
	return strings;
}

/** The options of {@link definitions} that `text` names. */
function optionsIn(text: string): string[] {
	return [...text.matchAll(/--([a-z]+(?:-[a-z]+)*)/g)]
		.map(([, name]) => name!)
		.filter((name) => Object.hasOwn(definitions, name));
}

test('strings are found, and options in them', () => {
	assert.ok(stringsOf('options/together.ts').flatMap(optionsIn).includes('tls-cert'));
	assert.ok(stringsOf('hook.ts').flatMap(optionsIn).includes('work-dir'));
});

for (const path of sources.filter((path) => !NAMING.some((prefix) => path.startsWith(prefix)))) {
	test(`no string of ${path} names an option`, () => {
		for (const text of stringsOf(path)) assert.equal(optionsIn(text), [], text);
	});
}

const hints: [code: ErrorCode, hint: string][] = [
	['SOCKET_IN_USE', ', or choose another --work-dir'],
	['DUMP_INCOMPLETE', '; --allow-incomplete takes such a stream for whole'],
	['STALLED', ', or allow more with --stall-timeout'],
	['MEMORY_SHORT', '; let the rest go to a disk with --spool DIR'],
	['MEMORY_LIMIT', ' (--memory-limit); let the rest go to a disk with --spool DIR'],
	['SPOOL_FULL', ' (--spool DIR)'],
	['FILE_EXISTS', ' (--images-dir), or say --overwrite'],
	['ASKED_TWICE', ': --keep holds them'],
	['NEEDS_FILES', ' (extract --images-dir DIR)'],
	['CORRECTIONS_LOST', '; dump once more with --zero-copy never'],
	['USAGE', ''],
	['STREAM_INCOMPLETE', ''],
	['FAILED', ''],
];

for (const [code, hint] of hints) {
	test(`${code}: what to do about it follows the message`, () => {
		const error = new StreamError(code, 'it failed');
		assert.is(describeWithHint(error), `it failed${hint}`);
		const spelt = hint.replace(/--[a-z-]+/g, (option) => `<${option.slice(2)}>`);
		assert.is(
			describeWithHint(error, (option) => `<${option}>`),
			`it failed${spelt}`,
		);
	});
}

test('a cause with a hint is enough, and comes before it', () => {
	const cause = new StreamError('STALLED', 'the reader is silent');
	assert.is(
		describeWithHint(new Error('cannot send the image', { cause })),
		'cannot send the image: the reader is silent, or allow more with --stall-timeout',
	);
	const inner = new Error('no such process (ESRCH)');
	assert.is(
		describeWithHint(new StreamError('CORRECTIONS_LOST', 'not known', { cause: inner })),
		'not known: no such process (ESRCH); dump once more with --zero-copy never',
	);
});

test('the command line, the log file and the action script are told', async () => {
	const { process, work } = startCapture({ args: ['--log-file', 'log'] });
	const dump = await StandInDump.connect({ work, process });
	await dump.put('core-1.img', 'core');
	const script = await askFinished(work);
	dump.close();
	const hint = /\(the reason is in CRIU’s log\); --allow-incomplete takes such a stream for whole/;
	assert.match(await process.ends(1), hint);
	assert.match(readFileSync(join(work, 'log'), 'utf8'), hint);
	assert.match(await script.reason(), hint);
});

test.run();

/** Memory of huge pages, which CRIU can restore only from files: the messages where it is tried from a stream. */
import { readFileSync, writeFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { afterwards } from '../support/cleanup.js';
import { skipImpossible, suite } from '../support/suite.js';
import { until } from '../support/until.js';
import { Scene } from './scene.js';

const PAGES = '/proc/sys/vm/nr_hugepages';
/** The pages of the application, and as many for the moment in which both the old and the new one have some. */
const NEEDED = 8;

const test = suite('hugetlb memory');

/**
 * Makes the kernel reserve huge pages until the test ends; skips it where that is not permitted, or memory is fragmented.
 */
function hugePages(): void {
	let before: string;
	try {
		before = readFileSync(PAGES, 'utf8');
		afterwards(() => writeFileSync(PAGES, before));
		writeFileSync(PAGES, String(Number(before) + NEEDED));
	} catch (error) {
		skipImpossible(`this machine gives no huge pages: ${error}`);
	}
	if (Number(readFileSync(PAGES, 'utf8')) < Number(before) + NEEDED)
		skipImpossible('this machine has no memory for huge pages');
}

/** An application with huge pages whose image is in the file `image`. */
async function dumped(kind: 'private' | 'shared' = 'private') {
	hugePages();
	const scene = new Scene();
	const application = await scene.start('hugetlb', kind);
	const capture = scene.shell('criu-image-streamer capture -W src > image');
	await scene.dump(application, capture);
	await capture.ends();
	return { scene, application };
}

test('a restore from the stream fails, with the reason and the cure; from files it works', async () => {
	const { scene, application } = await dumped();
	const serve = scene.shell('criu-image-streamer extract -W dst < image');
	await scene.socket('dst', 'serve', serve);
	const criu = scene.criuCommand('restore', 'dst', '--stream', '-d');
	await serve.ends(1);
	assert.match(serve.messages(), /"pages-\d+\.img" a second time.*hugetlb.*preadv.*extract --images-dir DIR/);
	assert.not.match(serve.messages(), /--keep/);
	await until('the end of criu', () => criu.code !== undefined);
	assert.is.not(criu.code, 0);
	// A process of the failed restore has the pid for a moment longer.
	await application.gone();

	await scene.shell('criu-image-streamer extract -D files < image').ends();
	await scene.run('restore', 'files', '-d');
	await application.verify();
});

test('with --keep CRIU gets the pages again and cannot use them: a warning with the reason', async () => {
	const { scene } = await dumped();
	const serve = scene.shell('criu-image-streamer extract --keep -W dst < image');
	await scene.socket('dst', 'serve', serve);
	const criu = scene.criuCommand('restore', 'dst', '--stream', '-d');
	await until('the end of criu', () => criu.code !== undefined);
	assert.is.not(criu.code, 0);
	assert.match(scene.log('dst', 'restore'), /Can't read pages data/);
	await serve.ends();
	assert.match(serve.messages(), /warn.*"pages-\d+\.img" a second time.*hugetlb/);
});

test('shared huge pages come back from a stream', async () => {
	const { scene, application } = await dumped('shared');
	const serve = scene.shell('criu-image-streamer extract -W dst < image');
	await scene.restore(serve);
	await serve.ends();
	await application.verify();
});

test.run();

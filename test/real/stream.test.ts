/** A checkpoint of a real CRIU, over every kind of transport. */

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { peer } from '../support/streamer.js';
import { suite } from '../support/suite.js';
import { need } from '../support/tools.js';
import { until } from '../support/until.js';
import { criuOrSkip } from './programs.js';
import { Scene } from './scene.js';

const test = suite('real CRIU, the stream');

/** Megabytes: more than any pipe holds. */
const SIZE = 48;

for (const release of ['sid', 'experimental'] as const) {
	test(`capture | extract, CRIU of ${release}`, async () => {
		const scene = new Scene(criuOrSkip(release));
		const application = await scene.start('threads', SIZE, 1);
		const stream = scene.shell('criu-image-streamer capture -W src | criu-image-streamer extract -W dst');
		await scene.pass(application, stream);
		assert.equal(scene.images(), [], 'no image file is made anywhere');
		const stats = JSON.parse(/^\{"shards".*$/m.exec(stream.messages())![0]);
		assert.ok(stats.shards[0].size > SIZE << 20);
	});
}

test('through a file, twice restored', async () => {
	const scene = new Scene();
	const application = await scene.start('threads', SIZE, 1);
	const capture = scene.shell('criu-image-streamer capture -W src > image');
	await scene.dump(application, capture);
	await capture.ends();
	for (const time of [1, 2]) {
		const extract = scene.shell(`criu-image-streamer extract -W dst${time} < image`);
		await scene.restore(extract, `dst${time}`);
		await extract.ends();
		await application.verify();
		assert.is(application.lines().at(-1), `1: 1 threads, ${SIZE} MB, right`, `restore ${time}`);
		await application.backToDump();
	}
});

test('from a dump on the disk', async () => {
	const scene = new Scene();
	const application = await scene.start('threads', SIZE, 1);
	scene.makeDirectories('images');
	application.remember();
	await scene.run('dump', 'images', `-t ${application.pid}`);
	await application.gone();
	const stream = scene.shell(
		'criu-image-streamer capture --from images | criu-image-streamer extract -W dst',
	);
	await scene.restore(stream);
	await stream.ends();
	await application.verify();
});

test('through lz4', async () => {
	need('lz4');
	const scene = new Scene();
	const application = await scene.start('threads', SIZE, 1);
	const stream = scene.shell(
		'criu-image-streamer capture -W src | lz4 -c - | lz4 -dc - | criu-image-streamer extract -W dst',
	);
	await scene.pass(application, stream);
});

test('through three shards', async () => {
	const scene = new Scene();
	const application = await scene.start('threads', SIZE, 1);
	const stream = scene.shell(`
		mkfifo a b c
		criu-image-streamer capture -W src --shard-fds 10,11,12 10>a 11>b 12>c & capture=$!
		criu-image-streamer extract -W dst --shard-fds 10,11,12 10<a 11<b 12<c || exit
		wait $capture`);
	await scene.pass(application, stream);
});

test('with the files of the application as an ext file', async () => {
	const scene = new Scene();
	const files = join(scene.directory, 'files');
	mkdirSync(join(files, 'inner'), { recursive: true });
	writeFileSync(join(files, 'inner', 'data'), Buffer.alloc(3_000_000, 'data of the application '));
	const application = await scene.start('threads', SIZE, 1);
	// tar starts when the application is frozen, so that its files and its memory are consistent.
	const stream = scene.shell(`
		criu-image-streamer capture -W src --progress-fd 3 --ext-file-fds fs.tar:4 3>progress 4< <(
			until grep -qs checkpoint-start progress; do sleep 0.02; done
			tar -C files -cf - .
		) | criu-image-streamer extract -W dst --ext-file-fds fs.tar:5 5> >(
			mkdir unpacked && tar -C unpacked -xf - && mv unpacked restored
		)`);
	await scene.dump(application, stream);
	rmSync(files, { recursive: true });
	await until('the end of tar', () => {
		if (stream.code) throw new Error(stream.messages());
		return existsSync(join(scene.directory, 'restored'));
	});
	await scene.restore(stream);
	await stream.ends();
	await application.verify();
	const data = readFileSync(join(scene.directory, 'restored', 'inner', 'data'));
	assert.ok(data.equals(Buffer.alloc(3_000_000, 'data of the application ')));
});

const ours = 'criu-image-streamer';
for (const [what, capture, serve] of [
	['captured by the original', '"$peer" --images-dir src capture', `${ours} extract -W dst`],
	['served by the original', `${ours} capture -W src`, '"$peer" --images-dir dst serve'],
] as const) {
	test(what, async () => {
		const [path] = peer();
		const scene = new Scene();
		const application = await scene.start('threads', SIZE, 1);
		scene.makeDirectories('src', 'dst');
		const stream = scene.shell(`${capture} | ${serve}`, { peer: path });
		await scene.pass(application, stream);
	});
}

test('to disk, and a plain criu restore', async () => {
	const scene = new Scene();
	const application = await scene.start('threads', SIZE, 1);
	const stream = scene.shell('criu-image-streamer capture -W src | criu-image-streamer extract -D disk');
	await scene.dump(application, stream);
	await stream.ends();
	assert.ok(scene.images().includes('disk/inventory.img'));
	await scene.run('restore', 'disk', '-d');
	await application.verify();
});

test.run();

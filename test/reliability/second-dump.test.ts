/**
 * Two CRIUs in one work directory: one is served, the other is refused before it has stopped its application, in any order.
 * An application that has ended is in the image.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { Application } from '../real/application.js';
import { type Command, Scene } from '../real/scene.js';
import { random } from '../support/random.js';
import { HOOK } from '../support/streamer.js';
import { full, suite } from '../support/suite.js';
import { until } from '../support/until.js';

const test = suite('two CRIUs in one work directory', { together: 3 });
const RUNS = full ? 40 : 6;
/** Time limit for the end of a refused CRIU: far less than its wait for a streamer that does not start. */
const SECONDS = 60;
/** The timeout of a script whose CRIU starts after the end of the capture: in seconds, as CRIU_STREAMER_TIMEOUT. */
const TIMEOUT = '15';

const pause = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis));

/** An application in its own scene, and a CRIU that dumps it into a shared directory. */
class Dump {
	private constructor(
		readonly scene: Scene,
		readonly application: Application,
	) {}

	static async of(megabytes: number): Promise<Dump> {
		const scene = new Scene();
		return new Dump(scene, await scene.start('threads', megabytes, 2));
	}

	start(work: string, script: boolean, env: Record<string, string> = {}): Command {
		return this.scene.shell(
			`exec "$criu" dump -D ${work} --stream -t ${this.application.pid} -v4 -o '${this.path}' ` +
				(script ? `--action-script ${HOOK}` : ''),
			env,
		);
	}

	private get path(): string {
		return join(this.scene.directory, 'dump.log');
	}

	get log(): string {
		return existsSync(this.path) ? readFileSync(this.path, 'utf8') : '';
	}

	/** Checks that the dump was refused before it began: CRIU has stopped nothing, and the application is unchanged. */
	async refused(command: Command): Promise<void> {
		await until('the end of the refused CRIU', () => command.code !== undefined, SECONDS);
		assert.is.not(command.code, 0);
		assert.not.match(this.log, /Seized task|Collecting tasks|pre-dump|post-dump/i);
		await this.application.verify();
	}
}

/** A capture into `image` that is read only once the file `go` is there. */
async function slowCapture(scene: Scene): Promise<{ stream: Command; work: string }> {
	const reader = 'until [ -e go ]; do sleep 0.02; done; cat >image';
	const stream = scene.shell(`criu-image-streamer capture -W src | { ${reader}; }`);
	await scene.socket('src', 'capture', stream);
	return { stream, work: join(scene.directory, 'src') };
}

/** Lets the reader of `scene` read, and checks that the image is that of `dump`, which succeeds. */
async function completes(scene: Scene, stream: Command, dump: Dump, command: Command): Promise<void> {
	await scene.shell('touch go').ends();
	await command.ends();
	await stream.ends();
	await dump.application.gone();
	await scene.shell('criu-image-streamer extract -D disk <image').ends();
	assert.is(existsSync(join(scene.directory, 'disk', `core-${dump.application.pid}.img`)), true);
}

for (const firstScript of [true, false])
	for (const script of [true, false])
		test(`a second dump ${script ? 'with' : 'without'} the script, while one ${firstScript ? 'with' : 'without'} it is served`, async () => {
			const [one, two] = [await Dump.of(8), await Dump.of(1)];
			const { stream, work } = await slowCapture(one.scene);
			const first = one.start(work, firstScript);
			await until('the first dump', () => /checkpoint-start/.test(stream.messages()));
			const second = two.start(work, script);
			await two.refused(second);
			const reason = new RegExp(
				`this capture serves the dump of process ${first.process.pid} \\(criu dump .*-t ${one.application.pid}`,
			);
			// CRIU opens its log after it runs the script.
			if (script) assert.match(second.messages(), reason);
			await completes(one.scene, stream, one, first);
		});

test('a CRIU that dies between pre-stream and its connection gives its place to the next one', async () => {
	const one = await Dump.of(1);
	const { stream, work } = await slowCapture(one.scene);
	// Its script claims the capture; the shell in CRIU's place runs until the file `leave` exists.
	const claims = one.scene.shell(
		`exec 9<${work}; export CRTOOLS_SCRIPT_ACTION=pre-stream CRTOOLS_IMAGE_DIR=/proc/$$/fd/9; ` +
			`${HOOK} && touch claimed; until [ -e leave ]; do sleep 0.02; done`,
	);
	await until('the claim', () => existsSync(join(one.scene.directory, 'claimed')));
	const refused = one.start(work, true);
	await one.refused(refused);
	assert.match(refused.messages(), `this capture waits for the dump of process ${claims.process.pid}`);
	await one.scene.shell('touch leave').ends();
	await claims.ends();
	await completes(one.scene, stream, one, one.start(work, true));
});

test('a second restore is refused, with the script or without it', async () => {
	const one = await Dump.of(8);
	const { scene, application } = one;
	scene.makeDirectories('dst');
	const capture = scene.shell('criu-image-streamer capture -W src >image');
	await scene.dump(application, capture);
	await capture.ends();
	const extract = scene.shell('criu-image-streamer extract -W dst <image');
	await scene.socket('dst', 'serve', extract);
	// The first restore is delayed by its own script while it is connected.
	const held = scene.script(
		'[ $CRTOOLS_SCRIPT_ACTION = setup-namespaces ] || [ $CRTOOLS_SCRIPT_ACTION = pre-restore ] || exit 0\n' +
			'touch connected; until [ -e go ]; do sleep 0.02; done',
	);
	const first = scene.criuCommand('restore', 'dst', '--stream', '-d', '--action-script', held);
	await until('the first restore', () => existsSync(join(scene.directory, 'connected')));
	for (const script of [true, false]) {
		const second = scene.criuCommand(
			'restore',
			'dst',
			'--stream',
			'-d',
			script ? `--action-script ${HOOK}` : '',
		);
		await until('the end of the second restore', () => second.code !== undefined, SECONDS);
		assert.is.not(second.code, 0);
		if (script) assert.match(second.messages(), `serves the restore of process ${first.process.pid}`);
	}
	await scene.shell('touch go').ends();
	await first.ends();
	await extract.ends();
	await application.verify();
});

for (let seed = 1; seed <= RUNS; seed++) {
	test(`in any order of arrival, seed ${seed}`, async () => {
		const next = random(seed);
		const scene = new Scene();
		const sizes = [1, 1, 8, 30];
		const pick = () => sizes[Math.floor(next() * sizes.length)]!;
		const dumps = [await Dump.of(pick()), await Dump.of(pick())];
		const scripts = [next() < 0.5, next() < 0.5];
		// Only CRIUs with the script wait for the streamer.
		const streamerFirst = !scripts.every(Boolean) || next() < 0.5;
		scene.makeDirectories('src');
		const work = join(scene.directory, 'src');
		const reader = `{ sleep ${next().toFixed(2)}; cat >image; }`;
		const line = `{ echo $BASHPID >pid; exec criu-image-streamer capture -W src; } | ${reader}`;
		const streamer = () => scene.shell(line);
		let stream = streamerFirst ? streamer() : undefined;
		if (stream) await scene.socket('src', 'capture', stream);
		const gaps = [next() * 30, next() * 400, 0];
		// As on an overloaded machine: connections made meanwhile are not accepted.
		const stoppedPid = streamerFirst && next() < 0.5 ? Number(readFileSync(join(scene.directory, 'pid'))) : 0;
		if (stoppedPid) process.kill(stoppedPid, 'SIGSTOP');
		const commands: Command[] = [];
		for (const [i, dump] of dumps.entries()) {
			commands.push(dump.start(work, scripts[i]!, { CRIU_STREAMER_TIMEOUT: TIMEOUT }));
			await pause(i === 0 ? gaps[Math.floor(next() * 3)]! : 0);
		}
		stream ??= streamer();
		if (stoppedPid) {
			await pause(next() * 2000);
			process.kill(stoppedPid, 'SIGCONT');
		}
		await until('the end of both', () => commands.every(({ code }) => code !== undefined), SECONDS);
		await stream.ends();
		await scene.shell('criu-image-streamer extract -D disk <image').ends();
		const inImage = dumps.map(({ application }) =>
			existsSync(join(scene.directory, 'disk', `core-${application.pid}.img`)),
		);
		const what = commands
			.map((command, i) => `${scripts[i]}, ${command.code}, ${command.messages()}`)
			.join('; ');
		assert.is(inImage.filter(Boolean).length, 1, what);
		for (const [i, dump] of dumps.entries()) {
			if (inImage[i]) await dump.application.gone();
			else await dump.refused(commands[i]!);
			assert.is(commands[i]!.code === 0, inImage[i], what);
		}
	});
}

test.run();

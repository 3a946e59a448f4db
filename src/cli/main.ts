/** The command line: parsed by yargs, and run by the module of the command. */
import yargs from 'yargs';
import { type Command, definitions } from '../options/definitions.js';
import { describeWithHint } from '../options/hints.js';
import { type Options, readOptions } from '../options/resolve.js';
import { writesFiles } from '../options/together.js';
import { describeError, UsageError } from '../runtime/errors.js';
import { PROGRAM, version } from '../runtime/version.js';

const commands: Record<Command, string> = {
	capture: 'Take the images of a dump from CRIU, or --from a directory, and write them as a stream',
	extract: 'Read a stream, and replay it to CRIU, or write its files into --images-dir',
	serve: 'Read a stream, and replay it to CRIU (extract without --images-dir)',
};

/** Parses `args`, runs the command, and returns the exit status. */
export async function main(args: string[]): Promise<number> {
	try {
		const options = parse(args);
		if (!options) return 0;
		const { run } = await load(options);
		await cleanUpAtExit();
		await run(options);
		return 0;
	} catch (error) {
		const usage = error instanceof UsageError;
		const { flushLines, linesTo, sayLine } = await import('../report/log.js');
		const text = describeWithHint(error);
		sayLine(tooManyFiles(error) && !text.includes('ulimit') ? `${text}: ${await limitHint()}` : text);
		if (usage) linesTo(2).write(`Try '${PROGRAM} --help'.\n`);
		await flushLines();
		return usage ? 2 : 1;
	}
}

/** Node's error for too many open files names neither the limit nor how to raise it. */
function tooManyFiles(error: unknown): boolean {
	if (!(error instanceof Error)) return false;
	return (error as NodeJS.ErrnoException).code === 'EMFILE' || tooManyFiles(error.cause);
}

async function limitHint(): Promise<string> {
	const { fileLimitHint } = await import('../libc/file-limit.js');
	return fileLimitHint();
}

/** Loads only the modules that the command needs: the application may be frozen while modules load. */
async function load(options: Options): Promise<{ run(options: Options): Promise<void> }> {
	if (options.from !== undefined) return await import('../commands/capture-directory.js');
	if (options.command === 'capture') return await import('../commands/capture.js');
	if (writesFiles(options)) return await import('../commands/extract.js');
	return await import('../commands/restore.js');
}

/** From here on signals and unexpected errors end this process after its clean-up. */
async function cleanUpAtExit(): Promise<void> {
	const { installExitHandlers } = await import('../runtime/cleanup.js');
	const { sayLine } = await import('../report/log.js');
	installExitHandlers(sayLine);
}

function parse(args: string[]): Options | undefined {
	let chosen: Command | undefined;
	let parser = yargs()
		.scriptName(PROGRAM)
		.usage('$0 <command> [options]')
		.exitProcess(false)
		.version(version);
	// yargs formats its help at every start, which takes as long as all the rest: it gets the texts only for --help.
	const helps = args.includes('--help');
	for (const [name, { only: _, describe, group, ...definition }] of Object.entries(definitions)) {
		const shown = helps ? { describe, group } : { hidden: true };
		parser = parser.option(name, {
			...definition,
			...shown,
			requiresArg: definition.type !== 'boolean',
		} as never);
	}
	for (const [name, describe] of Object.entries(commands) as [Command, string][]) {
		parser = parser.command(
			name,
			describe,
			(y) => {
				const others = Object.entries(definitions).filter(([, { only }]) => only && !only.includes(name));
				for (const [option] of helps ? others : []) y.hide(option);
				return y;
			},
			() => {
				chosen = name;
			},
		);
	}
	let printed = false;
	const parsed = parser
		.demandCommand(1, 1, `A command is missing: ${Object.keys(commands).join(', ')}`)
		.strict()
		.parserConfiguration({ 'camel-case-expansion': false, 'boolean-negation': false, 'greedy-arrays': false })
		.wrap(100)
		.fail((message, error) => {
			throw error instanceof UsageError ? error : new UsageError(message ?? describeError(error));
		})
		.parseSync(expandVerbosity(args), {}, (_error, _argv, output) => {
			if (!output) return;
			printed = true;
			process.stdout.write(`${output}\n`);
		});
	if (printed) return undefined;
	if (!chosen) throw new UsageError(`A command is missing: ${Object.keys(commands).join(', ')}`);
	return readOptions(chosen, parsed as Record<string, unknown>);
}

/** CRIU's notation of the verbosity, -v4 or -vv, which yargs cannot parse. */
function expandVerbosity(args: string[]): string[] {
	return args.map((arg) => {
		if (/^-v\d+$/.test(arg)) return `--verbosity=${arg.slice(2)}`;
		return /^-v+$/.test(arg) ? `--verbosity=${Math.min(4, 1 + arg.length)}` : arg;
	});
}

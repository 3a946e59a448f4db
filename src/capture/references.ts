/**
 * Whether the pages of a dump may leave by reference: it is safe where the application waits for this capture, and then either
 * surely dies, or has its pages copied by then.
 */
import type { DumpKind } from '../criu/dump-kind.js';
import type { Log } from '../report/log.js';

/**
 * How pages are sent:
 * - never by reference;
 * - always, whatever happens to them;
 * - corrected: by reference and with corrections, for an application that CRIU ends after the dump, and not before the action
 *   script has its answer;
 * - until delivered: by reference, for an application that may run on, but not before the action script has its answer, when every
 *   shard has its own copy.
 */
export type References = 'never' | 'always' | 'corrected' | 'until delivered';

/**
 * Chooses for one dump.
 * @param mode as the user wants it; `auto` is safe
 * @param held an action script asks at the end, and keeps CRIU from ending or resuming the application before it has its answer
 * @param copies every shard has its own copy of what it was given, once the stream is delivered
 */
export function chooseReferences(
	mode: 'auto' | 'always' | 'never',
	kind: DumpKind,
	held: boolean,
	copies: boolean,
	log: Pick<Log, 'info'>,
): References {
	if (mode === 'never') return 'never';
	if (kind.dies && held) {
		log.info(`moving pages without a copy: ${kind.why}, and not before the action script has its answer`);
		return 'corrected';
	}
	if (mode === 'always') return 'always';
	if (held && copies) {
		log.info('moving pages without a copy: every shard has its own before the action script has its answer');
		return 'until delivered';
	}
	log.info(
		`copying pages: ${kind.dies ? 'no action script keeps CRIU from ending the application' : kind.why}`,
	);
	return 'never';
}

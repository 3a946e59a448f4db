/** Whether the pages of a dump may leave by reference: it is safe where the application surely dies, and waits for this capture. */
import type { DumpKind } from '../criu/dump-kind.js';
import type { Log } from '../report/log.js';

/**
 * How pages are sent: never by reference; always, whatever happens to them; or by reference and with corrections, for an
 * application that CRIU ends after the dump, and not before the action script has its answer.
 */
export type References = 'never' | 'always' | 'corrected';

/**
 * Chooses for one dump.
 * @param mode as the user wants it; `auto` is safe
 * @param held an action script keeps CRIU from ending the application before this capture allows it
 */
export function chooseReferences(
	mode: 'auto' | 'always' | 'never',
	kind: DumpKind,
	held: boolean,
	log: Pick<Log, 'info'>,
): References {
	if (mode === 'never') return 'never';
	if (kind.dies && held) {
		log.info(`moving pages without a copy: ${kind.why}, and not before the action script has its answer`);
		return 'corrected';
	}
	if (mode === 'always') return 'always';
	log.info(
		`copying pages: ${kind.dies ? 'no action script keeps CRIU from ending the application' : kind.why}`,
	);
	return 'never';
}

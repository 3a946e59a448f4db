/** --tcp-listen-remap on a held image. */
import { remapListeningPorts } from '../criu/listening-ports.js';
import type { HeldFile } from '../stores/held.js';

/** It has to be held in a buffer. */
export const FILES = 'files.img';

/** Changes listening ports, old to new, in the held files.img. Throws where it, or an old port, is not there. */
export function remapHeld(files: Map<string, HeldFile>, ports: ReadonlyMap<number, number>): void {
	const held = files.get(FILES);
	if (!held) throw new Error(`cannot change listening ports: the image has no ${FILES}`);
	if (held.kind === 'large') throw new Error(`cannot change listening ports: ${FILES} is too large`);
	files.set(FILES, { kind: 'small', data: remapListeningPorts(held.data, ports) });
}

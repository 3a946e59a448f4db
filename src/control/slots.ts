/**
 * Which CRIUs a streamer serves, and which action scripts belong to them.
 *
 * A streamer serves a number of CRIUs, and has a slot for each. A script that asks at pre-stream claims one for its CRIU, so
 * that another's script is refused there, before anything is frozen. The image socket itself ignores claims, and the first
 * connection is served: what a CRIU without a script has written into a connection that is then closed may be its whole
 * dump, and its application is dead. The CRIU that had the claim fails to connect, and its application lives.
 */

import {
	criuOf,
	descendsFrom,
	isAlive,
	isSame,
	type Lineage,
	nameOf,
	type Process,
	processOf,
} from './lineage.js';
import type { Role } from './paths.js';

interface Slot {
	criu: Process;
	/** Its name for messages, read early: the process may have ended when it is needed. */
	name: string;
	/** The lineage of the script that claimed it. */
	line: Lineage;
	connected: boolean;
	/** A script of this CRIU has asked at pre-stream. */
	script: boolean;
}

export class Slots {
	readonly #slots: Slot[] = [];

	constructor(
		readonly role: Role,
		/** How many CRIUs are served. */
		readonly count: number,
	) {}

	/** Claims a slot for the CRIU of the script with `line`. Returns undefined, or the reason for the refusal. */
	claim(line: Lineage): string | undefined {
		const own = this.#slots.find(({ criu }) => descendsFrom(line, criu));
		if (own) own.script = true;
		else if (this.#makeRoom((slot) => !slot.connected && !isAlive(slot.criu))) {
			const criu = criuOf(line);
			this.#slots.push({ criu, name: nameOf(criu), line, connected: false, script: true });
		} else return this.refusal();
		return undefined;
	}

	/** The CRIU with a slot that the script with `line` belongs to. */
	claimedBy(line: Lineage): Process | undefined {
		return this.#slots.find(({ criu }) => descendsFrom(line, criu))?.criu;
	}

	/** CRIU `pid` (0: it cannot be seen) has connected, and is served. */
	connect(pid: number): void {
		const criu = processOf(pid);
		const claimed = this.#slots.find(
			(slot) => !slot.connected && (isSame(slot.criu, criu) || descendsFrom(slot.line, criu)),
		);
		if (!claimed) this.#makeRoom((slot) => !slot.connected);
		const slot = claimed ?? { criu, name: '', line: [], connected: true, script: false };
		if (!claimed) this.#slots.push(slot);
		Object.assign(slot, { criu, name: nameOf(criu), connected: true });
	}

	/** Whether any CRIU is or was connected. */
	get inUse(): boolean {
		return this.#slots.some(({ connected }) => connected);
	}

	/** Whether the script with `line` belongs to a CRIU that is or was connected. */
	serves(line: Lineage): boolean {
		return this.#slots.some(({ connected, criu }) => connected && descendsFrom(line, criu));
	}

	/** Whether a script of CRIU `pid` has asked at pre-stream. */
	hasScriptOf(pid: number): boolean {
		return this.#slots.some(({ connected, script, criu }) => connected && script && criu.pid === pid);
	}

	/** Why a CRIU is not served: which process is served or awaited instead, and the cure. */
	refusal(): string {
		const first = this.#slots.find(({ connected }) => connected) ?? this.#slots[0]!;
		const others = this.#slots.length - 1;
		const verb = first.connected ? 'serves' : 'waits for';
		const served = `${first.name}${others ? ` and ${others} more` : ''}`;
		return this.role === 'capture'
			? `this capture ${verb} the dump of ${served}: start another capture with another work directory`
			: `this streamer ${verb} the restore of ${served}: start another with another work directory, ` +
					'or let one serve more CRIUs';
	}

	/** Whether there is a free slot; the first that is `dispensable` is removed for it. */
	#makeRoom(dispensable: (slot: Slot) => boolean): boolean {
		if (this.#slots.length < this.count) return true;
		const at = this.#slots.findIndex(dispensable);
		if (at >= 0) this.#slots.splice(at, 1);
		return at >= 0;
	}
}

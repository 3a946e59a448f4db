/** core-TID.img: the words of memory that the kernel writes when a thread ends. */
import { images } from '../proto/images.js';
import { recordsOf } from './records.js';

const CORE_MAGIC = 0x55053847;

/** The addresses that the kernel writes to when a thread ends. */
export interface ThreadEnd {
	/** Address of the word that becomes 0 (set_tid_address, CLONE_CHILD_CLEARTID); 0: none. */
	clearTid: number;
	/** Address of the head of the list of robust futexes; 0: none. */
	robustList: number;
	/** Size of that head in bytes, which tells the size of a pointer: 24, or 12 for a 32-bit thread. */
	robustHeadBytes: number;
}

/**
 * Reads the image of a thread; undefined for that of a task without threads, which has already ended.
 * @param name of the image file, for errors
 * @throws where it is not a core image, or of an unknown architecture
 */
export function threadEndOf(image: Buffer, name: string): ThreadEnd | undefined {
	const [record] = recordsOf(image, CORE_MAGIC, name);
	if (!record) throw new Error(`${name} is empty`);
	const core = images.Core.decode(record);
	const { thread_core } = core;
	if (!thread_core) return undefined;
	const info =
		core.x86 ??
		core.aarch64 ??
		core.arm ??
		core.ppc64 ??
		core.s390 ??
		core.mips ??
		core.loongarch64 ??
		core.riscv64;
	if (!info) throw new Error(`${name} is of an unknown architecture`);
	return {
		clearTid: Number(info.clear_tid_addr),
		robustList: Number(thread_core.futex_rla),
		robustHeadBytes: thread_core.futex_rla_len,
	};
}

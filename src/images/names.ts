/** Names of image files that have a meaning here. */

/** CRIU writes it last, and only when everything else was written: a directory without it is no image. */
export const LAST_IMAGE = 'inventory.img';
/** Sent before the application is stopped, or all that there is (criu cpuinfo dump). */
export const CPUINFO = 'cpuinfo.img';
/** The open files, sockets among them. */
export const FILES = 'files.img';
/** The processes: of a dump, not of a pre-dump. */
export const PROCESSES = 'pstree.img';

/** pages-N.img, the memory of a process or shared memory: large as a rule, while nearly all other images are small. */
const PAGES = /^pages-\d+\.img$/;
/** The map of a process's memory, and of shared memory. */
const PAGEMAP = /^pagemap-.+\.img$/;
/** The mappings of a process, which CRIU has only together with a pagemap. */
const MAPPINGS = /^mm-(\d+)\.img$/;
/** What a CRIU leaves in an images directory, and never streams. */
const BY_PRODUCT = /^(stats-(dump|restore)|irmap-cache|.*\.log)$/;

export function isPages(name: string): boolean {
	return PAGES.test(name);
}

export function isPagemap(name: string): boolean {
	return PAGEMAP.test(name);
}

export function isByProduct(name: string): boolean {
	return BY_PRODUCT.test(name);
}

/** The pagemap that belongs to the image `name` of a process's mappings; undefined: it is another image. */
export function pagemapOfMappings(name: string): string | undefined {
	const process = MAPPINGS.exec(name)?.[1];
	return process === undefined ? undefined : `pagemap-${process}.img`;
}

/** Names of image files that have a meaning here. */

/** CRIU writes it last, and only when everything else was written: a directory without it is no image. */
export const LAST_IMAGE = 'inventory.img';
/** Sent before the application is stopped, or all that there is (criu cpuinfo dump). */
export const CPUINFO = 'cpuinfo.img';
/** The open files, sockets among them. */
export const FILES = 'files.img';

/** pages-N.img, the memory of a process or shared memory: large as a rule, while nearly all other images are small. */
const PAGES = /^pages-\d+\.img$/;

export function isPages(name: string): boolean {
	return PAGES.test(name);
}

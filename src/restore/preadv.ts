/**
 * Memory that cannot be restored from a stream. CRIU reads a pages-N.img in order while it prepares the memory of a task; only
 * what it cannot prepare (private hugetlb memory) it reads later, at given offsets, for which it opens the file once more. A
 * pipe has no offsets. Which offsets CRIU reads cannot be seen from here, but a second request can.
 */
import { quoteName } from '../stream/image-name.js';

/** What to say where one CRIU asks for the pages image `name` a second time. */
export function askedAgain(name: string): string {
	return (
		`CRIU asked for ${quoteName(name)} a second time in one restore, as it does for private hugetlb memory ` +
		'(MAP_HUGETLB), which it reads with preadv: no stream can serve that; extract the image into a directory, ' +
		'and restore from there without --stream'
	);
}

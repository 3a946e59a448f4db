/** Where a capture takes a file from. */

/** A file of the image on its way in. */
export interface Source {
	name: string;
	/** Non-blocking, or a regular file. Whoever started the reading closes it. */
	fd: number;
	/** By reference: from a pipe whose pages nobody will write to again. */
	by: 'reference' | 'copy';
	/** Is shown each part of a copied file; what it needs of it has to be copied. */
	keep?: ((part: Buffer) => void) | undefined;
}

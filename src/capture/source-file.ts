/** A file of the image on its way in, whatever it comes from: CRIU, a directory, the user. */
export interface SourceFile {
	name: string;
	/** Non-blocking, or a regular file. Whoever passes the file on closes it, or leaves that to image-sender.ts. */
	fd: number;
	/** By reference: from a pipe whose pages nothing will write to again. */
	by: 'reference' | 'copy';
	/** Called with each part of a copied file, which it has to copy if it needs it for longer than the call. */
	keep?: ((part: Buffer) => void) | undefined;
}

/** A file of the user's that becomes part of the image, or leaves it as it comes (--ext-file-fds). */
export interface ExtFile {
	name: string;
	fd: number;
}

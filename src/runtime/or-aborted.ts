/** Waits that a caller can give up. */

/** `work`, unless `signal` is aborted before it is done: then its reason is thrown, and what becomes of `work` is not seen. */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
	if (!signal) return await work;
	let leave!: () => void;
	const left = new Promise<never>((_, reject) => {
		leave = () => reject(signal.reason);
		signal.addEventListener('abort', leave);
		if (signal.aborted) leave();
	});
	try {
		return await Promise.race([work, left]);
	} finally {
		signal.removeEventListener('abort', leave);
	}
}

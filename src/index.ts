/**
 * The interface for programs: capture, extract and serve, with the same function as the commands of these names.
 *
 * An import loads only this file. The rest, with libc and the poll set, is loaded by the first call. Nothing here installs
 * handlers of signals or errors, writes to stderr or stdout, or ends the process.
 */
import type { CaptureOptions, ExtractOptions, ServeOptions, Summary } from './api/types.js';

export type * from './api/types.js';
export { type ErrorCode, StreamError } from './runtime/stream-error.js';

/**
 * Takes the images of one dump from `criu dump --stream`, and writes them as a stream. Resolves when the stream is delivered
 * (the other side has taken every byte, or has confirmed the whole image), and CRIU has closed its socket where its action
 * script may still ask. Until then the action script keeps CRIU from ending the application.
 * @throws {StreamError} where anything failed; the stream then has no end marker, so that its reader fails too
 */
export async function capture(options: CaptureOptions): Promise<Summary> {
	return (await import('./api/calls.js')).capture(options);
}

/**
 * Reads a stream, and writes its files for a plain `criu restore`. Resolves when they are on the disk.
 * @throws {StreamError} where anything failed; then no file has got its name
 */
export async function extract(options: ExtractOptions): Promise<Summary> {
	return (await import('./api/calls.js')).extract(options);
}

/**
 * Reads a stream, holds its image in memory, and serves it to `criu restore --stream`, whose socket appears when the stream is
 * whole. Resolves when the last CRIU has closed its connection.
 * @throws {StreamError} where anything failed
 */
export async function serve(options: ServeOptions): Promise<Summary> {
	return (await import('./api/calls.js')).serve(options);
}

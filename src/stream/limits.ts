/** Bounds of the stream that a reader enforces and a writer keeps to. */

/** A longer message is not one: a file name is at most 255 bytes, and nothing else in a marker has a length. */
export const MAX_MESSAGE_BYTES = 10 * 1024;
/** Of a file name: file systems take no longer ones. */
export const MAX_NAME_BYTES = 255;
/** The same maximum as in criu-image-streamer. */
export const MAX_SHARDS = 32;

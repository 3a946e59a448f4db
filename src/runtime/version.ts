/** Read when built, so that no file is opened at the start. */
import manifest from '../../package.json' with { type: 'json' };

export const { version } = manifest;

/** Starts the messages of both bins: the name that CRIU's tools call. */
export const PROGRAM = 'criu-image-streamer';

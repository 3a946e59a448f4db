/** Read at build time, so that no file is opened at the start. */
import manifest from '../../package.json' with { type: 'json' };

export const { version } = manifest;

/** The prefix of the messages of both programs: the name that CRIU's tools call. */
export const PROGRAM = 'criu-image-streamer';

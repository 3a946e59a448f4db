/** Read when built, so that no file is opened at the start. */
import manifest from '../../package.json' with { type: 'json' };

export const { version } = manifest;

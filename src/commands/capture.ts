import type { Options } from '../cli/options.js';
export async function run(_options: Options): Promise<void> {}

#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';
import { main } from './cli/main.js';

// V8 doubles its young generation, up to 32 MiB, as objects survive in it, and keeps that memory. Each small file of an image has
// objects that survive, while collections of a small young generation cost no more: nearly all else is garbage by then.
setFlagsFromString('--semi-space-growth-factor=1');

// A failed run may leave waits that never end, so the process exits explicitly.
process.exit(await main(process.argv.slice(2)));

#!/usr/bin/env node
import { main } from './cli/main.js';

// What a failed run was waiting for may never come: the process ends with its work.
process.exit(await main(process.argv.slice(2)));

#!/usr/bin/env node
import { main } from './cli/main.js';

// A failed run may leave waits that never end, so the process exits explicitly.
process.exit(await main(process.argv.slice(2)));

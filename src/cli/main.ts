#!/usr/bin/env node
// The command line's entry.
import { run } from './program.ts';

await run(process.argv.slice(2));

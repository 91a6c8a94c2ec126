#!/usr/bin/env -S MALLOC_ARENA_MAX=2 node --max-semi-space-size=8
// The command line's entry. What it runs is imported only where this Node.js can run it.
// Left to itself, the nursery of a busy server grows to 128 MB, and glibc keeps some 30 MB more for
// its threads: half of all its memory, which makes nothing faster (docs/performance.md).
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major > 22 || (major === 22 && minor >= 18)) {
  const { run } = await import('./program.ts');
  await run(process.argv.slice(2));
} else {
  console.error(`holdfast: this needs Node.js 22.18 or later; this is ${process.version}.`);
  process.exitCode = 2;
}

export {};

// Where the CPU time of each thread went, by step: the self time of a V8 profile's functions, put
// together by the file they stand in, or by name where they are Node's own.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Profile } from './flame.ts';

/** The first whose pattern fits `function url` has it. */
const steps: readonly (readonly [step: string, pattern: RegExp])[] = [
  ['idle', /^\(idle\) /],
  ['garbage collection', /^\(garbage collector\) /],
  ['waiting for the disk', /^(fdatasync|fsync) /],
  ['writes to files and sockets', /^(write\w*|pwrite\w*|handleWriteReq|createWriteReq) (node:|$)/],
  ['reads of files', /^(read|pread|fstat|open) (node:|$)/],
  ['CRC', /^crc32 /],
  ['digests', /node:internal\/crypto\//],
  ['decode, check, encode', /holdfast:decoder|\/src\/accept\//],
  ['form groups', /\/src\/journal\/(group|block|queue|journal|tail)\.ts/],
  ['remember requests', /\/src\/(journal\/requests|pending|upkeep)\.ts/],
  ['read back', /\/src\/(journal\/|merge\/feed\.ts)/],
  ['put batches together, order keys', /\/src\/merge\//],
  ['rows for the target', /\/src\/target\//],
  ['rings and messages', /\/src\/threads\/|worker\/io|^postMessage /],
  ['HTTP', /node:(_http|net|internal\/stream)|fastify|\/src\/server\/|find-my-way|avvio/],
];

/** µs of each step, the largest first; without what was idle. */
export function stepsOf({ nodes, samples, timeDeltas }: Profile): Map<string, number> {
  const own = new Map<number, number>();
  samples.forEach((id, i) => {
    own.set(id, (own.get(id) ?? 0) + (timeDeltas[i] ?? 0));
  });
  const sums = new Map<string, number>();
  for (const { id, callFrame } of nodes) {
    const name = `${callFrame.functionName} ${callFrame.url}`;
    const [step] = steps.find(([, pattern]) => pattern.test(name)) ?? ['the rest'];
    if (step !== 'idle') sums.set(step, (sums.get(step) ?? 0) + (own.get(id) ?? 0));
  }
  return new Map([...sums].filter(([, us]) => us > 0).sort(([, a], [, b]) => b - a));
}

export function tellSteps(folder: string, say: (text: string) => void): void {
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.cpuprofile'))) {
    const found = stepsOf(JSON.parse(readFileSync(join(folder, name), 'utf8')) as Profile);
    const all = [...found.values()].reduce((sum, us) => sum + us, 0);
    say(`${name}, ${Math.round(all / 1000)} ms of CPU time:`);
    for (const [step, us] of found) {
      const share = ((us / all) * 100).toFixed(1).padStart(5);
      say(`${share} % ${String(Math.round(us / 1000)).padStart(7)} ms  ${step}`);
    }
  }
}

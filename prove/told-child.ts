// A process that a fault is to meet: writes numbered requests to a real journal in front of an
// SQLite file, and tells what comes of each, one line of JSON at a time, and when its journal is
// full. What is refused for want of room it sends again, a number of times. Once the journal has
// failed it tries to write some more, and leaves. SIGTERM: what it has begun is its last.
// Arguments: folder, first number, last number, where the loaders run.
import process from 'node:process';
import { setImmediate as oneTurn, setTimeout as pause } from 'node:timers/promises';
import { errorTable, HoldfastError } from '../src/errors.ts';
import { open } from '../src/index.ts';
import type { Holdfast } from '../src/types.ts';
import { childOptions, childRows, tellParent, writersMax } from '../test/support/crash-folder.ts';
import { beTraced } from '../test/support/traced.ts';
import type { Told } from './told-life.ts';

const triesMax = 400;
const betweenTriesMs = 25;
const lookMs = 20;

const tell = (told: Told): Promise<void> => tellParent(JSON.stringify(told));

/** Anything that is not the product's own is told as what it is, and ends badly. */
const codeOf = (error: unknown): string =>
  error instanceof HoldfastError ? error.code : `unexpected: ${String(error)}`;

const exitOf = (error: unknown): number =>
  error instanceof HoldfastError ? errorTable[error.code].exit : 1;

async function writeOne(holdfast: Holdfast, number: number): Promise<boolean> {
  try {
    const options = { idempotencyKey: String(number) };
    const { repeated, id: receipt } = await holdfast.write('events', childRows(number), options);
    await tell({ acknowledged: number, repeated, receipt });
    return true;
  } catch (error) {
    const outcome = error instanceof HoldfastError ? error.outcome : 'unexpected';
    await tell({ refused: number, code: codeOf(error), outcome });
    return false;
  }
}

async function writeAll(holdfast: Holdfast): Promise<void> {
  let tries = 0;
  const writers = Array.from({ length: writersMax }, async () => {
    while (next <= last) {
      const number = next++;
      while (!(await writeOne(holdfast, number))) {
        if (tries++ >= triesMax || holdfast.health().state !== 'running') return;
        await pause(betweenTriesMs);
      }
    }
  });
  await Promise.all(writers);
}

const [folder = '', first, lastGiven, place] = process.argv.slice(2);
let next = Number(first);
let last = Number(lastGiven);
process.once('SIGTERM', () => {
  last = next - 1;
});

async function live(): Promise<void> {
  const holdfast = await open(childOptions(folder, place === 'own' ? 'own' : 'worker'));
  await tell({ opened: true });
  void holdfast.failed.then(async (error) => {
    // What was durable before it failed is told before: its promises have further to go.
    await oneTurn();
    await tell({ failed: codeOf(error) });
    for (let i = 0; i < 3; i++) await writeOne(holdfast, next++);
    process.exit(exitOf(error));
  });
  const looking = setInterval(() => {
    if (holdfast.health().journal.full) void tell({ full: true });
  }, lookMs);
  await writeAll(holdfast);
  clearInterval(looking);
  // What is not merged by then, the next one merges.
  await holdfast.close({ drainMs: 200 });
  await tell({ closed: true });
}

await beTraced();
try {
  await live();
} catch (error) {
  await tell({ failed: codeOf(error) });
  process.exitCode = exitOf(error);
}

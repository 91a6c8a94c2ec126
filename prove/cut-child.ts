// A process on a disk that will be cut: writes numbered requests to a real journal, a few at a
// time, and says what happens, a line each:
//
//   ready       everything is loaded; it waits for its orders, a line of JSON on stdin
//   opening     the journal is being opened
//   open        it is open
//   NUMBER      this request was acknowledged
//   known NUMBER  the same, as one that the journal had already
//   failed WHY  the opening or a write was rejected; a number after this is wrong (O5)
//   done        it has tried once more
//
// Argument: the folder of the sources; a broken build has its own.
import { once } from 'node:events';
import { flushCompileCache } from 'node:module';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import type { OpenOptions } from '../src/options.ts';
import type { Holdfast } from '../src/types.ts';
import { childRows, tellParent, writersMax } from '../test/support/crash-folder.ts';

export interface CutOrders {
  readonly options: OpenOptions;
  /** The first number to be written. */
  readonly first: number;
}

const [, , sources = ''] = process.argv;
const { open, HoldfastError } = (await import(
  join(sources, 'src/index.ts')
)) as typeof import('../src/index.ts');

// A process that is killed does not keep what it compiled for the next one.
flushCompileCache();

/** The reason of a rejection, by its code where it is one of ours. */
const why = (error: unknown): string =>
  error instanceof HoldfastError ? error.code : String(error);

async function write(holdfast: Holdfast, number: number): Promise<void> {
  const options = { idempotencyKey: String(number) };
  const { repeated } = await holdfast.write('events', childRows(number), options);
  await tellParent(repeated ? `known ${number}` : `${number}`);
}

/** Writes until a write is rejected for good, and a little more. */
async function writeAll(holdfast: Holdfast, first: number): Promise<void> {
  let next = first;
  let reason = '';
  const writer = async (): Promise<void> => {
    while (reason === '') {
      const number = next++;
      try {
        await write(holdfast, number);
      } catch (error) {
        // While the target takes nothing, the journal fills up.
        if (why(error) === 'HF_JOURNAL_FULL') await pause(20);
        else reason = why(error);
      }
    }
  };
  await Promise.all(Array.from({ length: writersMax }, writer));
  await tellParent(`failed ${reason}`);
  await Promise.allSettled(Array.from({ length: writersMax }, () => write(holdfast, next++)));
  await tellParent('done');
}

process.stdin.setEncoding('utf8');
// Nobody is to be left behind whose campaign is gone.
process.stdin.once('end', () => process.exit(1));
await tellParent('ready');
const [line] = (await once(process.stdin, 'data')) as [string];
const { options, first } = JSON.parse(line) as CutOrders;
await tellParent('opening');
try {
  const holdfast = await open(options);
  await tellParent('open');
  await writeAll(holdfast, first);
} catch (error) {
  await tellParent(`failed ${why(error)}`);
}

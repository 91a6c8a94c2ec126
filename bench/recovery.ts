// bench recovery: how long a process needs to open the journal that a killed one left, until it
// takes records; a new process each time, which is killed in its turn. A segment that was begun and
// never filled is all that is written between.
//
// warm: milliseconds, with what the page cache has. cold: with none of the journal's pages there.
// `of`: reading and checking every byte of the journal (`holdfast journal check`), as warm, as cold.
// bytes: what the segments take.
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { systemDisk } from '../src/disk.ts';
import { segmentNumbers, segmentPath } from '../src/journal/files.ts';
import { type BenchOptions, type Figures, figureOf, type Size } from './figures.ts';
import { type Ground, onGround } from './ground.ts';
import type { Fill } from './journal-owner.ts';
import { CpuMeter } from './machine.ts';
import { figureOver, type Measured, type Round, takeRounds } from './rounds.ts';

const sizes: { readonly [size in Size]: { readonly bytes: number; readonly rounds: number } } = {
  tiny: { bytes: 256 * 2 ** 20, rounds: 1 },
  usual: { bytes: 2 ** 30, rounds: 5 },
  full: { bytes: 10 * 2 ** 30, rounds: 5 },
};

interface Timed extends Measured {
  readonly ms: number;
}

export const benchRecovery = (options: BenchOptions): Promise<Figures> =>
  onGround(async (ground) => {
    const directory = join(ground.folder, 'journal');
    const { bytes, rounds } = sizes[options.size];
    const fill: Fill = { directory, bytes };
    options.say(`writing ${(bytes / 2 ** 30).toFixed(2)} GiB`);
    const writer = ground.child('journal-owner.ts');
    await writer.call('fill', fill);
    await writer.crash();
    const taken = await takeRounds(options, {
      rounds,
      take: () => takeRound(ground, directory),
      tell: ({ ms }) => `${Math.round(ms)} ms`,
    });
    const figure = (name: string) =>
      figureOver(taken, name, { unit: 'ms', value: ({ ms }) => ms, reference: `${name} read` });
    const paths = segmentPaths(directory);
    const value = paths.reduce((sum, path) => sum + statSync(path).size, 0);
    return {
      warm: figure('warm'),
      cold: figure('cold'),
      bytes: figureOf('bytes', [{ value, others: 0 }]),
    };
  });

async function takeRound(ground: Ground, directory: string): Promise<Round<Timed>> {
  const round = new Map<string, Timed>();
  for (const state of ['warm', 'cold'] as const) {
    for (const [name, method] of [
      [`${state} read`, 'readAll'],
      [state, 'open'],
    ] as const) {
      if (state === 'cold') dropPages(directory);
      const owner = ground.child('journal-owner.ts');
      // Its modules are loaded once it answers.
      await owner.call('ready');
      const meter = new CpuMeter();
      const ms = await owner.call<number>(method, { directory });
      round.set(name, { ms, others: meter.others() });
      await owner.crash();
    }
  }
  return round;
}

const segmentPaths = (directory: string): string[] =>
  segmentNumbers(systemDisk, directory).map((number) => segmentPath(directory, number));

/** Asks the kernel to forget the pages of the segments (POSIX_FADV_DONTNEED). */
function dropPages(directory: string): void {
  for (const path of segmentPaths(directory)) {
    execFileSync('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'status=none']);
  }
}

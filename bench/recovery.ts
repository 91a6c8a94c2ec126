// bench recovery: how long a process needs to open the journal that a killed one left, until it
// takes records. Its last segment is full: that is read, and copied to safety. A new process each
// time, which is killed in its turn.
//
// warm, cold: milliseconds, with the journal's pages in memory, and with none of them. `of`: a
//   journal of one segment, in the same round.
// read: seconds to read and check every byte, once, warm (`holdfast journal check`).
// bytes: what the segments take.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { systemDisk } from '../src/disk.ts';
import { segmentNumbers, segmentPath } from '../src/journal/files.ts';
import { limits } from '../src/limits.ts';
import { type BenchOptions, type Figures, figureOf, type Run, type Size } from './figures.ts';
import { type Ground, onGround } from './ground.ts';
import type { Directory, Fill } from './journal-owner.ts';
import { CpuMeter } from './machine.ts';
import { figureOver, type Measured, takeRounds } from './rounds.ts';

const sizes: { readonly [size in Size]: { readonly segments: number; readonly rounds: number } } = {
  tiny: { segments: 2, rounds: 1 },
  usual: { segments: 16, rounds: 7 },
  full: { segments: 160, rounds: 7 },
};

interface Timed extends Measured {
  readonly ms: number;
}

export const benchRecovery = (options: BenchOptions): Promise<Figures> =>
  onGround(async (ground) => {
    const { segments, rounds } = sizes[options.size];
    const directory = join(ground.folder, 'journal');
    const one = join(ground.folder, 'one');
    options.say(`writing ${segments} segments`);
    await fill(ground, { directory: one, segments: 1 });
    await fill(ground, { directory, segments });
    const taken = await takeRounds(options, {
      rounds,
      take: async () => {
        const round = new Map<string, Timed>();
        for (const [suffix, of] of [
          ['One', one],
          ['', directory],
        ] as const) {
          round.set(`warm${suffix}`, await timed(ground, 'open', of));
          dropPages(of);
          round.set(`cold${suffix}`, await timed(ground, 'open', of));
        }
        return round;
      },
      tell: ({ ms }) => `${Math.round(ms)} ms`,
    });
    const figure = (name: string) =>
      figureOver(taken, name, { unit: 'ms', value: ({ ms }) => ms, reference: `${name}One` });
    const { ms, others } = await timed(ground, 'read', directory);
    const alone = (unit: string, run: Run) => figureOf(unit, [run]);
    return {
      warm: figure('warm'),
      cold: figure('cold'),
      read: alone('s', { value: ms / 1000, others }),
      bytes: alone('bytes', { value: segments * limits.segmentBytes, others: 0 }),
    };
  });

async function fill(ground: Ground, what: Fill): Promise<void> {
  const owner = ground.child('journal-owner.ts');
  await owner.call('fill', what);
  await owner.crash();
}

async function timed(ground: Ground, method: string, directory: string): Promise<Timed> {
  const owner = ground.child('journal-owner.ts');
  // Its modules are loaded once it answers.
  await owner.call('ready');
  const meter = new CpuMeter();
  const of: Directory = { directory };
  const ms = await owner.call<number>(method, of);
  const others = meter.others();
  await owner.call('settle');
  await owner.crash();
  return { ms, others };
}

/** Asks the kernel to forget the pages of a journal's segments (POSIX_FADV_DONTNEED). */
function dropPages(directory: string): void {
  for (const number of segmentNumbers(systemDisk, directory)) {
    const path = segmentPath(directory, number);
    execFileSync('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'status=none']);
  }
}

// bench journal: records acknowledged after their sync.
//
// group256, group4096: the journal itself (Journal.submit), groups of that many records of 200
// bytes over 64 lanes, one group after another, confirmed at once so that segments are dropped as
// in a long run; a new segment is zeroed meanwhile. `of`: the same bytes, without block headers, by
// a bare loop (bare-file.ts). single: one row alone (single.ts).
import { join } from 'node:path';
import process from 'node:process';
import { systemClock } from '../src/clock.ts';
import { systemDisk } from '../src/disk.ts';
import type { Parcel } from '../src/journal/group.ts';
import { Journal } from '../src/journal/journal.ts';
import { limits } from '../src/limits.ts';
import { newMetrics } from '../src/metrics.ts';
import { BareFile } from './bare-file.ts';
import {
  type BenchOptions,
  type Figure,
  type Figures,
  figureOf,
  type Run,
  type Size,
} from './figures.ts';
import { onGround } from './ground.ts';
import { CpuMeter } from './machine.ts';
import { recordParcel } from './records.ts';
import { takeRounds } from './rounds.ts';
import { Singles } from './single.ts';

const rounds: { readonly [size in Size]: number } = { tiny: 1, usual: 7, full: 21 };
/** Each of the two gets this much of a round, in slices: a disturbance hits both. */
const roundMs: { readonly [size in Size]: number } = { tiny: 30, usual: 900, full: 900 };
const sliceMs = 30;
const singles: { readonly [size in Size]: number } = { tiny: 3, usual: 150, full: 150 };
const groupRecords = [256, 4096];

export const benchJournal = (options: BenchOptions): Promise<Figures> =>
  onGround(async ({ folder }) => {
    const bare = await BareFile.create(join(folder, 'bare'));
    const groups: [string, Groups][] = [];
    for (const records of groupRecords) {
      const name = `group${records}`;
      groups.push([name, await Groups.open(join(folder, name), records, bare)]);
    }
    const single = await Singles.open(folder, bare);
    const taken = await takeRounds(options, {
      rounds: rounds[options.size],
      take: async () => {
        const round = new Map<string, Run>();
        for (const [name, own] of groups) round.set(name, await own.take(roundMs[options.size]));
        return round.set('single', await single.take(singles[options.size]));
      },
      tell: ({ value, of = Number.NaN }) => `${Math.round(value)} of ${Math.round(of)}`,
    });
    for (const [, own] of groups) await own.close();
    await single.close();
    bare.close();
    const figure = (unit: string, name: string): Figure =>
      figureOf(
        unit,
        taken.flatMap((round) => round.get(name) ?? []),
      );
    return {
      ...Object.fromEntries(groups.map(([name]) => [name, figure('records/s', name)])),
      single: figure('µs', 'single'),
    };
  });

async function openJournal(directory: string): Promise<Journal> {
  return Journal.open({
    disk: systemDisk,
    clock: systemClock,
    metrics: newMetrics(),
    directory,
    pid: process.pid,
    segmentBytes: limits.segmentBytes,
    bytesMax: limits.journalBytesMax,
    retentionMsMin: 0,
    retentionBytesMin: 0,
  });
}

/** One journal that takes the same group over and over. */
class Groups {
  readonly #journal: Journal;
  readonly #parcel: Parcel;
  readonly #bare: BareFile;

  private constructor(journal: Journal, parcel: Parcel, bare: BareFile) {
    this.#journal = journal;
    this.#parcel = parcel;
    this.#bare = bare;
  }

  static async open(directory: string, records: number, bare: BareFile): Promise<Groups> {
    const journal = await openJournal(directory);
    const parcel = recordParcel(journal, records);
    const { stream } = parcel;
    const { last, confirmed } = journal;
    journal.listen({
      onSynced: () => confirmed.set(stream, Float64Array.from(last.get(stream) ?? [])),
      beforeDrop: () => undefined,
    });
    return new Groups(journal, parcel, bare);
  }

  /** Records a second. */
  async take(ms: number): Promise<Run> {
    const { rows } = this.#parcel;
    const bytes = rows.bytes.subarray(0, rows.length);
    const meter = new CpuMeter();
    const spent = { bare: noSpending(), journal: noSpending() };
    while (spent.journal.ms < ms) {
      await spend(spent.bare, async () => this.#bare.append(bytes));
      await spend(spent.journal, () => this.#journal.submit(this.#parcel));
    }
    const rate = ({ groups, ms }: Spending): number => (groups * rows.count * 1000) / ms;
    return { value: rate(spent.journal), of: rate(spent.bare), others: meter.others() };
  }

  close(): Promise<void> {
    return this.#journal.close();
  }
}

interface Spending {
  groups: number;
  ms: number;
}

const noSpending = (): Spending => ({ groups: 0, ms: 0 });

/** One slice of groups, one after another. */
async function spend(on: Spending, append: () => Promise<unknown>): Promise<void> {
  const begun = performance.now();
  let passed = 0;
  while (passed < sliceMs) {
    await append();
    on.groups++;
    passed = performance.now() - begun;
  }
  on.ms += passed;
}

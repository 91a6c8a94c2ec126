// `holdfast dedupe`: what waits in a staging table twice, and, unless it is a dry run, all but one
// copy of it taken out and booked as duplicates, while loading and merging go on.
import type { Command } from 'commander';
import { systemClock } from '../clock.ts';
import { HoldfastError } from '../errors.ts';
import type { StagedDuplicates } from '../target/staging.ts';
import { TargetError } from '../target/target.ts';
import { readConfig } from './config.ts';
import { count, plural, type Result, say, tableOf } from './output.ts';
import { showProgress } from './progress.ts';
import { type OpenStaging, withStaging } from './staged-stream.ts';

/** Bounds one transaction, and how long it has a lane to itself. */
const rowsMax = 50_000;
const keysDefault = 10;

/** Lanes that a merger holds are asked for again so often; the last pauses take 2 s each. */
const roundsMax = 10;
const pauseMsMin = 50;
const pauseMsMax = 2_000;

interface Collapsed {
  readonly collapsed: number;
  /** Lanes that a merger held each time. */
  readonly held: number;
}

async function collapse(open: OpenStaging, before: StagedDuplicates): Promise<Collapsed> {
  let lanes = before.byLane.filter(({ duplicates }) => duplicates > 0);
  const total = lanes.reduce((sum, { rows }) => sum + rows, 0);
  const progress = showProgress(total, { done: 0, rows: 0 });
  let collapsed = 0;
  let done = 0;
  try {
    for (let round = 0; lanes.length > 0 && round < roundsMax; round++) {
      if (round > 0) await systemClock.sleep(Math.min(pauseMsMin * 2 ** round, pauseMsMax));
      const held: typeof lanes = [];
      for (const own of lanes) {
        const step = await collapseLane(open, own.lane);
        collapsed += step?.collapsed ?? 0;
        if (!step?.isWhole) held.push(own);
        else done += own.rows;
        progress.update({ done, rows: done });
      }
      lanes = held;
    }
  } finally {
    progress.stop();
  }
  return { collapsed, held: lanes.length };
}

/** Undefined where the lane must be tried again. */
async function collapseLane({ staging, stream }: OpenStaging, lane: number) {
  try {
    return await staging.dedupe(stream, lane, rowsMax);
  } catch (error) {
    if (error instanceof TargetError && error.kind === 'transient') return undefined;
    throw error;
  }
}

async function dedupe(open: OpenStaging, isDryRun: boolean, keysMax: number): Promise<Result> {
  const { name, staging, stream } = open;
  if (stream.rules.key.length === 0) {
    const message = `Stream "${name}" has no key, so none of its rows is a duplicate.`;
    throw new HoldfastError('HF_USAGE', message);
  }
  const startMs = systemClock.monotonicMs();
  const before = await staging.duplicates(stream, keysMax);
  if (!isDryRun) say(waits(before));
  const { collapsed, held } = isDryRun ? { collapsed: 0, held: 0 } : await collapse(open, before);
  const after = isDryRun ? undefined : await staging.duplicates(stream, 0);
  const seconds = Number(((systemClock.monotonicMs() - startMs) / 1000).toFixed(3));
  const { rows, duplicates, byKey, byTime } = before;
  const times = byTime.map(({ at, ...counts }) => ({ at: new Date(at).toISOString(), ...counts }));
  const left = after && { rows: after.rows, duplicates: after.duplicates };
  const json = {
    ...{ stream: name, rows, duplicates, collapsed, byKey, byTime: times },
    ...(left && { after: left }),
    ...{ lanesHeld: held, seconds, dryRun: isDryRun },
  };
  const lines = [
    ...(left
      ? [
          `${plural(collapsed, 'row')} collapsed in ${seconds.toFixed(1)} s: ` +
            'booked as duplicates; one copy of each stays, and finds its end by the merge.',
          `Now: ${waits(left)}`,
        ]
      : [waits(before), wouldDo(duplicates)]),
    ...(held > 0 ? [`${plural(held, 'lane')} being merged meanwhile: left to the mergers.`] : []),
    ...keyTable(before),
    ...timeTable(times),
  ];
  return { json, text: lines.join('\n') };
}

const waits = ({ rows, duplicates }: { readonly rows: number; readonly duplicates: number }) =>
  `${plural(rows, 'row')} wait in the staging table; ${count(duplicates)} of them are duplicates.`;

const wouldDo = (duplicates: number): string =>
  duplicates === 0
    ? 'Nothing to collapse.'
    : 'Without --dry-run they would be taken out and booked as duplicates.';

function keyTable({ byKey }: StagedDuplicates): string[] {
  const rows = byKey.map(({ key, duplicates }) => [key, duplicates]);
  return rows.length === 0 ? [] : ['', tableOf(['key', 'duplicates'], rows)];
}

type Times = readonly { readonly at: string; readonly rows: number; readonly duplicates: number }[];

function timeTable(times: Times): string[] {
  const rows = times.map(({ at, rows: all, duplicates }) => [
    `${at.slice(0, 16)}Z`,
    all,
    duplicates,
  ]);
  return rows.length === 0 ? [] : ['', tableOf(['staged at', 'rows', 'duplicates'], rows)];
}

function whole(text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  throw new HoldfastError('HF_USAGE', `--keys: "${text}" is not a whole number.`);
}

interface Given {
  readonly config?: string;
  readonly stream?: string;
  readonly dryRun?: boolean;
  readonly keys: number;
}

const after = `
A duplicate is a row with the key and the content of another one that waits. In the books it ends as
a duplicate; one copy stays and finds its end by the merge. Loading and merging go on meanwhile; the
journal is not needed. It may be stopped and started again at any time.`;

export function addDedupe(command: Command, settle: (result: Result) => Promise<void>): void {
  command
    .command('dedupe')
    .description('collapse duplicates that wait in the staging table of a staged stream')
    .option('--dry-run', 'only report: by key, by time')
    .option('--keys <number>', 'how many keys to name', whole, keysDefault)
    .addHelpText('after', after)
    .action(async (given: Given) => {
      const config = await readConfig(given.config);
      const work = (open: OpenStaging) => dedupe(open, given.dryRun === true, given.keys);
      await settle(await withStaging(config, given.stream, work));
    });
}

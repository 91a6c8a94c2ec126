// bench backlog: what it costs to be far behind. Two products on one PostgreSQL, each with a
// database of its own: one with nothing in its journal, one with `records` rows that are not in its
// table yet (another session holds a lock on the table while they are written). Rounds of both in
// turn, each into an empty table.
//
// none: rows/s over HTTP until the last row is settled, without a backlog; as bench path's http.
// rate: rows/s settled out of the backlog while as many a second are written as `none` gave in the
//   same round, so that the machine does the same work. `of`: none. The time counts from the first
//   batch that is settled once the lock is released.
// records: how far behind at the least. rss: the most memory that the product with the backlog had.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Child } from './children.ts';
import { type BenchOptions, type Figures, figureOf, type Size } from './figures.ts';
import type { Load, PacedLoad } from './generator.ts';
import { onPostgres, type PostgresGround } from './ground.ts';
import { CpuMeter } from './machine.ts';
import { bodyRows } from './payments.ts';
import { createPaymentsDatabase, lockPayments } from './postgres.ts';
import type { Standing, Start } from './product.ts';
import { inWords, type Rate, type Round, rateFigure, roundsOf, takeRounds } from './rounds.ts';

interface Sizes {
  readonly records: number;
  /** Of `none`. */
  readonly rows: number;
  readonly ms: number;
}

const sizes: { readonly [size in Size]: Sizes } = {
  tiny: { records: 400_000, rows: 5_000, ms: 50 },
  usual: { records: 5_000_000, rows: 1_000_000, ms: 8_000 },
  full: { records: 50_000_000, rows: 10_000_000, ms: 60_000 },
};
const connections = 8;
const pollMs = 5;
/** 50 million rows and what is written behind them. */
const journalLimits = { bytesMax: 30 * 2 ** 30, streamShareMax: 1 };

interface Parts extends PostgresGround {
  readonly generator: Child;
  readonly none: Child;
  readonly noneUrl: string;
  readonly behind: Child;
  readonly behindUrl: string;
  /** The database of the one that is behind. */
  readonly target: string;
}

interface Measured extends Rate {
  readonly records: number;
  readonly rssMax: number;
}

export const benchBacklog = (options: BenchOptions): Promise<Figures> =>
  onPostgres(async (on) => {
    const own = sizes[options.size];
    const { folder } = on.ground;
    const none = on.ground.product(options.profileTo);
    const behind = on.ground.product(options.profileTo);
    const generator = on.ground.child('generator.ts');
    const start: Start = { journal: join(folder, 'none'), target: on.url };
    const noneUrl = await none.call<string>('start', start);
    const target = await createPaymentsDatabase(on.url, 'behind');
    const late: Start = { journal: join(folder, 'behind'), target, limits: journalLimits };
    const behindUrl = await behind.call<string>('start', late);
    const parts = { ...on, generator, none, noneUrl, behind, behindUrl, target };
    let unlock = await lockPayments(target);
    options.say(`writing a backlog of ${own.records.toLocaleString('en')} rows`);
    const load: Load = { url: behindUrl, first: 0, rows: own.records, connections };
    await generator.call('load', load);
    const taken = await takeRounds(options, {
      rounds: roundsOf[options.size],
      take: async (isWarmUp) => {
        const share = isWarmUp ? 0.2 : 1;
        const alone = await takeNone(parts, own.rows * share);
        const rate = await takeBehind(parts, unlock, { per: alone.rate, ms: own.ms * share });
        unlock = await lockPayments(target);
        return new Map([
          ['none', alone],
          ['rate', rate],
        ]);
      },
      tell: ({ rate, records }) => `${inWords(rate)} at ${records.toLocaleString('en')} behind`,
    });
    await none.call('stop');
    await behind.call('stop', { drainMs: 0 });
    await unlock();
    return report(taken);
  });

async function takeNone(
  { client, none, noneUrl: url, generator }: Parts,
  rows: number,
): Promise<Measured> {
  await client.query('TRUNCATE payments');
  await client.query('CHECKPOINT');
  const meter = new CpuMeter();
  const begun = performance.now();
  const load: Load = { url, first: 0, rows, connections };
  await generator.call('load', load);
  const { unaccounted, rssMax } = await none.call<Standing>('reach', { mark: 'settled' });
  const seconds = (performance.now() - begun) / 1000;
  assert.equal(unaccounted, 0, 'the books balance');
  return { rate: rows / seconds, others: meter.others(), records: 0, rssMax };
}

async function takeBehind(
  { behind, behindUrl: url, generator, client }: Parts,
  unlock: () => Promise<void>,
  { per: rowsPerSecond, ms }: { readonly per: number; readonly ms: number },
): Promise<Measured> {
  await client.query('CHECKPOINT');
  const { accepted: first } = await behind.call<Standing>('standing');
  const load: PacedLoad = { url, first, rowsPerSecond, rowsEach: bodyRows, ms, connections };
  const written = generator.call('paced', load);
  while ((await behind.call<Standing>('standing')).accepted === first) await pause(pollMs);
  await unlock();
  // A loader that has waited for the lock in vain pauses before it tries again.
  const before = await nextBatch(behind);
  const meter = new CpuMeter();
  await written;
  const after = await nextBatch(behind);
  const seconds = (after.atMs - before.atMs) / 1000;
  const others = meter.others();
  const records = Math.min(...[before, after].map((one) => one.accepted - one.settled));
  assert.equal(after.unaccounted, 0, 'the books balance');
  const rate = (after.settled - before.settled) / seconds;
  return { rate, others, records, rssMax: after.rssMax };
}

/** Where it stands when the next batch is settled: in between, a count is up to a batch old. */
async function nextBatch(product: Child): Promise<Standing & { readonly atMs: number }> {
  const { settled } = await product.call<Standing>('standing');
  for (;;) {
    const now = await product.call<Standing>('standing');
    if (now.settled > settled) return { ...now, atMs: performance.now() };
    assert(now.accepted > now.settled, 'the backlog lasts');
    await pause(pollMs);
  }
}

function report(taken: readonly Round<Measured>[]): Figures {
  const late = taken.flatMap((round) => round.get('rate') ?? []);
  const others = Math.max(...late.map((one) => one.others));
  const extreme = (unit: string, value: number) => figureOf(unit, [{ value, others }]);
  return {
    none: rateFigure(taken, 'none'),
    rate: rateFigure(taken, 'rate', 'none'),
    records: extreme('rows', Math.min(...late.map(({ records }) => records))),
    rss: extreme('MB', Math.max(...late.map(({ rssMax }) => rssMax))),
  };
}

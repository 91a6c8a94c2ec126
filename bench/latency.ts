// bench latency: milliseconds from when rows were to be sent until they are visible in a PostgreSQL
// table, at 10,000 rows/s: bodies of 50 rows over 8 loopback connections, one due every 5 ms. Each
// is timed from when it was due, until a reader on a connection of its own, which asks every
// millisecond, has seen all of its rows (watcher.ts): by one clock, and never too early.
//
// p50, p99: of all bodies of a run. `of`: the same bodies at the same rate, each a COPY and commit
//   of its own on one connection, seen by the same reader.
// ackP50, ackP99: until the acknowledgement; `of`: until the commit was answered.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Child } from './children.ts';
import { type BenchOptions, type Figures, quantile, type Size } from './figures.ts';
import type { PacedLoad, PacedTimes } from './generator.ts';
import { onPostgres, type PostgresGround } from './ground.ts';
import { CpuMeter } from './machine.ts';
import type { Start } from './product.ts';
import { figureOver, type Measured, type Round, roundsOf, takeRounds } from './rounds.ts';

const rowsPerSecond = 10_000;
const rowsEach = 50;
const connections = 8;
const runMs: { readonly [size in Size]: number } = { tiny: 200, usual: 12_000, full: 60_000 };
const warmUpMs: { readonly [size in Size]: number } = { tiny: 100, usual: 3_000, full: 10_000 };

interface Times extends Measured, PacedTimes {}

interface Parts extends PostgresGround {
  readonly product: Child;
  readonly generator: Child;
  readonly http: string;
}

export const benchLatency = (options: BenchOptions): Promise<Figures> =>
  onPostgres(async (on) => {
    const product = on.ground.product(options.profileTo);
    const generator = on.ground.child('generator.ts');
    const start: Start = { journal: join(on.ground.folder, 'journal'), target: on.url };
    const http = await product.call<string>('start', start);
    const parts = { ...on, product, generator, http };
    const taken = await takeRounds(options, {
      rounds: roundsOf[options.size],
      take: (isWarmUp) => takeRound(parts, (isWarmUp ? warmUpMs : runMs)[options.size]),
      tell: ({ visibleMs }) => `p99 ${quantile(visibleMs, 0.99).toFixed(1)} ms`,
    });
    await product.call('stop');
    return report(taken);
  });

async function takeRound(parts: Parts, ms: number): Promise<Round<Times>> {
  const bare = await measure(parts, { call: 'pacedCopy', url: parts.url, ms });
  const paced = await measure(parts, { call: 'paced', url: parts.http, ms });
  await parts.product.call('reach', { mark: 'settled' });
  return new Map([
    ['bare', bare],
    ['paced', paced],
  ]);
}

async function measure(
  { client, generator, url: watch }: Parts,
  of: { readonly call: string; readonly url: string; readonly ms: number },
): Promise<Times> {
  const { call, url, ms } = of;
  await client.query('TRUNCATE payments');
  await client.query('CHECKPOINT');
  const load: PacedLoad = { url, first: 0, rowsPerSecond, rowsEach, ms, connections, watch };
  const meter = new CpuMeter();
  const times = await generator.call<PacedTimes>(call, load);
  const others = meter.others();
  const counted = await client.query<{ count: string }>('SELECT count(*) FROM payments');
  assert.equal(Number(counted.rows[0]?.count), times.rows, 'every row is in the table once');
  assert.equal(times.visibleMs.length * rowsEach, times.rows, 'every body was seen');
  return { ...times, others };
}

function report(taken: readonly Round<Times>[]): Figures {
  const figure = (of: 'visibleMs' | 'answeredMs', share: number) =>
    figureOver(taken, 'paced', {
      unit: 'ms',
      value: (times) => quantile(times[of], share),
      reference: 'bare',
    });
  return {
    p50: figure('visibleMs', 0.5),
    p99: figure('visibleMs', 0.99),
    ackP50: figure('answeredMs', 0.5),
    ackP99: figure('answeredMs', 0.99),
  };
}

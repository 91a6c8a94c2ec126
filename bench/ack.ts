// bench ack: acknowledgements, each given after the sync of its rows.
//
// http: rows/s over 8 loopback connections, as fast as it goes, bodies of 500 rows, with no target
//   to load into: another session holds a lock on the table, for which the loaders wait. `of`: one
//   loop of write + fdatasync, eight bodies at a time, as many as are in flight: what the disk can
//   take.
// p50at90k, p99at90k, p50at180k, p99at180k: milliseconds at 90,000 and 180,000 rows/s, bodies of
//   500 rows, 8 connections, into PostgreSQL, which loads them meanwhile. Timed from when a body
//   was due (pace.ts). `of`: the same quantile of one bare write + fdatasync of one body, alone.
// single: µs of one row alone through the library (single.ts).
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { BareFile } from './bare-file.ts';
import type { Child } from './children.ts';
import {
  type BenchOptions,
  type Figure,
  type Figures,
  figureOf,
  quantile,
  type Run,
  type Size,
} from './figures.ts';
import type { Load, PacedLoad, PacedTimes } from './generator.ts';
import { onPostgres, type PostgresGround } from './ground.ts';
import { CpuMeter } from './machine.ts';
import { Body, bodyRows } from './payments.ts';
import { createPaymentsDatabase, lockPayments } from './postgres.ts';
import type { Standing, Start } from './product.ts';
import { roundsOf, takeRounds } from './rounds.ts';
import { Singles } from './single.ts';

interface Sizes {
  /** Of `http`. */
  readonly rows: number;
  readonly warmUpRows: number;
  readonly pacedMs: number;
  readonly bareMs: number;
  readonly singles: number;
}

const sizes: { readonly [size in Size]: Sizes } = {
  tiny: { rows: 4_000, warmUpRows: 4_000, pacedMs: 100, bareMs: 20, singles: 3 },
  usual: { rows: 3_000_000, warmUpRows: 500_000, pacedMs: 6_000, bareMs: 500, singles: 300 },
  full: { rows: 10_000_000, warmUpRows: 1e6, pacedMs: 60_000, bareMs: 1_000, singles: 1_500 },
};
const connections = 8;
const paces = [90_000, 180_000];
/** What cannot be loaded stays in the journal: room for all rounds. */
const journalLimits = { bytesMax: 30 * 2 ** 30, streamShareMax: 1 };

interface Parts extends PostgresGround {
  readonly generator: Child;
  /** Loads what it takes. */
  readonly loading: Child;
  readonly loadingUrl: string;
  /** Cannot load. */
  readonly waiting: Child;
  readonly waitingUrl: string;
  readonly bare: BareFile;
  readonly singles: Singles;
}

export const benchAck = (options: BenchOptions): Promise<Figures> =>
  onPostgres(async (on) => {
    const { folder } = on.ground;
    const loading = on.ground.product(options.profileTo);
    const waiting = on.ground.product(options.profileTo);
    const start: Start = { journal: join(folder, 'loading'), target: on.url };
    const loadingUrl = await loading.call<string>('start', start);
    const target = await createPaymentsDatabase(on.url, 'waiting');
    const locked: Start = { journal: join(folder, 'waiting'), target, limits: journalLimits };
    const waitingUrl = await waiting.call<string>('start', locked);
    const unlock = await lockPayments(target);
    const bare = await BareFile.create(join(folder, 'bare'));
    const singles = await Singles.open(folder, bare);
    const generator = on.ground.child('generator.ts');
    const parts = { ...on, generator, loading, loadingUrl, waiting, waitingUrl, bare, singles };
    const taken = await takeRounds(options, {
      rounds: roundsOf[options.size],
      take: (isWarmUp) => takeRound(parts, sizes[options.size], isWarmUp),
      tell: ({ value, of = Number.NaN }) => `${value.toPrecision(4)} of ${of.toPrecision(4)}`,
    });
    await loading.call('stop');
    await waiting.call('stop', { drainMs: 0 });
    await unlock();
    await singles.close();
    bare.close();
    const figure = (name: string): Figure =>
      figureOf(
        unitOf(name),
        taken.flatMap((round) => round.get(name) ?? []),
      );
    return Object.fromEntries([...(taken[0]?.keys() ?? [])].map((name) => [name, figure(name)]));
  });

const unitOf = (name: string): string =>
  name === 'http' ? 'rows/s' : name === 'single' ? 'µs' : 'ms';

async function takeRound(parts: Parts, own: Sizes, isWarmUp: boolean): Promise<Map<string, Run>> {
  const round = new Map<string, Run>();
  round.set('http', await takeHttp(parts, isWarmUp ? own.warmUpRows : own.rows, own.bareMs));
  const syncMs = bareSyncs(parts.bare, bodyBytes(1), own.bareMs);
  for (const rowsPerSecond of paces) {
    const ms = isWarmUp ? own.pacedMs / 4 : own.pacedMs;
    const { times, others } = await takePaced(parts, rowsPerSecond, ms);
    for (const percent of [50, 99]) {
      const of = quantile(syncMs, percent / 100);
      const value = quantile(times, percent / 100);
      round.set(`p${percent}at${rowsPerSecond / 1000}k`, { value, of, others });
    }
  }
  return round.set('single', await parts.singles.take(own.singles));
}

async function takeHttp(parts: Parts, rows: number, bareMs: number): Promise<Run> {
  const { waiting, generator, waitingUrl: url, bare } = parts;
  const syncs = bareSyncs(bare, bodyBytes(connections), bareMs);
  const of =
    (connections * bodyRows * 1000) / (syncs.reduce((sum, ms) => sum + ms, 0) / syncs.length);
  const before = await waiting.call<Standing>('standing');
  const meter = new CpuMeter();
  const begun = performance.now();
  const load: Load = { url, first: before.accepted, rows, connections };
  await generator.call('load', load);
  const seconds = (performance.now() - begun) / 1000;
  const others = meter.others();
  const after = await waiting.call<Standing>('standing');
  assert.equal(after.accepted - before.accepted, rows, 'every row was accepted');
  assert.equal(after.settled, 0, 'nothing was loaded');
  return { value: rows / seconds, of, others };
}

async function takePaced(
  { client, loading, generator, loadingUrl: url }: Parts,
  ...[rowsPerSecond, ms]: [number, number]
) {
  await client.query('TRUNCATE payments');
  await client.query('CHECKPOINT');
  const load: PacedLoad = { url, first: 0, rowsPerSecond, rowsEach: bodyRows, ms, connections };
  const meter = new CpuMeter();
  const { answeredMs, rows } = await generator.call<PacedTimes>('paced', load);
  const others = meter.others();
  await loading.call('reach', { mark: 'settled' });
  const counted = await client.query<{ count: string }>('SELECT count(*) FROM payments');
  assert.equal(Number(counted.rows[0]?.count), rows, 'every row is in the table once');
  return { times: answeredMs, others };
}

const bodyBytes = (bodies: number): Uint8Array =>
  Buffer.concat(Array.from({ length: bodies }, () => new Body().bytes));

/** Milliseconds of each, one after another for so long. */
function bareSyncs(bare: BareFile, bytes: Uint8Array, ms: number): number[] {
  const times: number[] = [];
  const end = performance.now() + ms;
  for (let now = performance.now(); now < end; ) {
    bare.append(bytes);
    const after = performance.now();
    times.push(after - now);
    now = after;
  }
  return times;
}

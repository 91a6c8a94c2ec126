// bench path: rows/s from NDJSON bytes to a PostgreSQL table with a primary key, until the last row
// is settled, beside a plain binary COPY of the same rows. Rounds of all in turn, each into the
// same table, emptied; then count(*) must be what was accepted, and the books must balance.
//
// bareCopy: one connection, pg-copy-streams, tuples encoded ahead, 20,000 rows a transaction.
// library: writeBytes of bodies of 500 rows, 8 calls in flight, in the product's process.
// http: the same bodies over 8 loopback connections from a process of their own.
// random: http with keys in no order. `of`: bareRandom, the bare COPY of the same rows as they
//   come.
// rss: the most memory that the product's process had. …Cpu: µs of CPU time a row.
//
// With --full each bare COPY takes 60 s, and the runs beside it bring as many rows as it did.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Child } from './children.ts';
import { type BenchOptions, type Figure, type Figures, figureOf, type Size } from './figures.ts';
import type { Load } from './generator.ts';
import { onPostgres, type PostgresGround } from './ground.ts';
import { CpuMeter, treeMs } from './machine.ts';
import type { Keys } from './payments.ts';
import { copyPayments } from './postgres.ts';
import type { Rows, Standing, Start } from './product.ts';
import {
  figureOver,
  inWords,
  type Rate,
  type Round,
  rateFigure,
  roundsOf,
  takeRounds,
} from './rounds.ts';

const rowsOf: { readonly [size in Size]: number } = { tiny: 5_000, usual: 1_000_000, full: 1e6 };
const warmUpShare = 0.2;
/** How long a bare run lasts at least, and with it the others. */
const sustainedMs: { readonly [size in Size]: number } = { tiny: 0, usual: 0, full: 60_000 };
const connections = 8;

interface Parts extends PostgresGround {
  readonly product: Child;
  readonly generator: Child;
  readonly http: string;
}

/** What one run took. */
interface Measured extends Rate {
  readonly rows: number;
  /** µs of CPU time a row: the product's, and PostgreSQL's. */
  readonly productCpu: number;
  readonly serverCpu: number;
  readonly rssMax: number;
}

/** Answers with how many rows it wrote. */
type Write = (rows: Rows & { readonly msMin: number }) => Promise<number>;

export async function benchPath(options: BenchOptions): Promise<Figures> {
  return onPostgres(async (on) => {
    const product = on.ground.product(options.profileTo);
    const generator = on.ground.child('generator.ts');
    const start: Start = { journal: join(on.ground.folder, 'journal'), target: on.url };
    const http = await product.call<string>('start', start);
    const parts = { ...on, product, generator, http };
    const taken = await takeRounds(options, {
      rounds: roundsOf[options.size],
      take: (isWarmUp) => takeRound(parts, options.size, isWarmUp),
      tell: ({ rate }) => inWords(rate),
    });
    await product.call('stop');
    return report(taken);
  });
}

async function takeRound(parts: Parts, size: Size, isWarmUp: boolean): Promise<Round<Measured>> {
  const round = new Map<string, Measured>();
  const wanted = {
    rows: rowsOf[size] * (isWarmUp ? warmUpShare : 1),
    msMin: isWarmUp ? 0 : sustainedMs[size],
  };
  const { client, product, generator, http: url } = parts;
  const bare: Write = (rows) => copyPayments(client, 'payments', rows);
  const library: Write = async ({ rows }) => {
    await product.call('write', { first: 0, rows } satisfies Rows);
    return rows;
  };
  const http = (keys: Keys): Write => {
    return async ({ rows }) => {
      await generator.call('load', { url, connections, first: 0, rows, keys } satisfies Load);
      return rows;
    };
  };
  const ascending = await measure(parts, { ...wanted, keys: 'ascending', write: bare });
  round.set('bareCopy', ascending);
  const { rows } = ascending;
  round.set('library', await measure(parts, { rows, keys: 'ascending', write: library }));
  round.set('http', await measure(parts, { rows, keys: 'ascending', write: http('ascending') }));
  const random = await measure(parts, { ...wanted, keys: 'random', write: bare });
  round.set('bareRandom', random);
  const again = { rows: random.rows, keys: 'random', write: http('random') } as const;
  round.set('random', await measure(parts, again));
  return round;
}

interface Wanted {
  readonly rows: number;
  readonly keys: Keys;
  readonly msMin?: number;
  readonly write: Write;
}

/** One run into the emptied table, until all is settled; checked. */
async function measure(
  { client, product, postmaster }: Parts,
  { write, rows: rowsMin, keys, msMin = 0 }: Wanted,
): Promise<Measured> {
  await client.query('TRUNCATE payments');
  await client.query('CHECKPOINT');
  const before = await product.call<Standing>('reach', { mark: 'settled' });
  const meter = new CpuMeter();
  const productMs = treeMs(product.pid);
  const serverMs = treeMs(postmaster);
  const begun = performance.now();
  const rows = await write({ first: 0, rows: rowsMin, keys, msMin });
  const after = await product.call<Standing>('reach', { mark: 'settled' });
  const seconds = (performance.now() - begun) / 1000;
  const others = meter.others();
  const perRow = (ms: number): number => (ms * 1000) / rows;
  const productCpu = perRow(treeMs(product.pid) - productMs);
  const serverCpu = perRow(treeMs(postmaster) - serverMs);
  const counted = await client.query<{ count: string }>('SELECT count(*) FROM payments');
  assert.equal(Number(counted.rows[0]?.count), rows, 'every row is in the table once');
  const accepted = after.accepted - before.accepted;
  assert(accepted === rows || accepted === 0, 'every row was accepted, or none');
  assert.equal(after.merged - before.merged, accepted, 'every row was merged');
  assert.equal(after.unaccounted, 0, 'the books balance');
  return { rate: rows / seconds, rows, others, productCpu, serverCpu, rssMax: after.rssMax };
}

function report(taken: readonly Round<Measured>[]): Figures {
  const figures: Record<string, Figure> = {
    bareCopy: rateFigure(taken, 'bareCopy'),
    library: rateFigure(taken, 'library', 'bareCopy'),
    http: rateFigure(taken, 'http', 'bareCopy'),
    bareRandom: rateFigure(taken, 'bareRandom'),
    random: rateFigure(taken, 'random', 'bareRandom'),
  };
  const all = taken.flatMap((round) => [...round.values()]);
  const rss = Math.max(...all.map(({ rssMax }) => rssMax));
  const others = Math.max(...all.map((one) => one.others));
  const cpu: Record<string, Figure> = {};
  for (const name of Object.keys(figures)) {
    const costs = (value: (measured: Measured) => number): Figure =>
      figureOver(taken, name, { unit: 'µs/row', value });
    cpu[`${name}ServerCpu`] = costs(({ serverCpu }) => serverCpu);
    if (!name.startsWith('bare')) cpu[`${name}Cpu`] = costs(({ productCpu }) => productCpu);
  }
  return { ...figures, rss: figureOf('MB', [{ value: rss, others }]), ...cpu };
}

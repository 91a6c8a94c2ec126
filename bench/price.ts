// bench price: what exactly-once costs, in µs of CPU a row, ours and PostgreSQL's together: the
// same rows from the same bytes through the same path, accept, journal and sync included, into the
// same table, with and without ledger, watermarks and lanes.
//
// exactlyOnce: `value` without, `of` with, `ratio` = value / of: the share that is not the price.
// ours, theirs: the same, of the product's process and of PostgreSQL alone.
// books: likewise, but `value` keeps the lanes: what ledger and watermarks alone cost.
// batchRows: rows of a transaction, likewise: they must be alike, or the two do not compare.
//
// With: as the product comes, but for one loader, on the caller's thread. Without: the same code
// with one lane, so that nothing is scattered, gathered or brought into order again, and a target
// that keeps no books (without-books.ts). One loader in both, because one lane can have no more.
// What is left in it that belongs to exactly-once: digests over blocks, which stand in for the
// ledger's, and the position of each block in its lane; far below what can be measured. Rounds of
// both in turn, in an order that changes; CPU time of both sides is read from /proc.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Child } from './children.ts';
import type { BenchOptions, Figures, Size } from './figures.ts';
import { onPostgres, type PostgresGround } from './ground.ts';
import { CpuMeter, treeMs } from './machine.ts';
import type { Standing, Start } from './product.ts';
import { figureOver, type Measured, type Round, takeRounds } from './rounds.ts';

const rounds: { readonly [size in Size]: number } = { tiny: 1, usual: 9, full: 25 };
const rowsOf: { readonly [size in Size]: number } = { tiny: 5_000, usual: 1e6, full: 2e6 };
const warmUpShare = 0.4;

/** µs of CPU a row. */
interface Cost extends Measured {
  readonly ours: number;
  readonly theirs: number;
  readonly batchRows: number;
}

export const benchPrice = (options: BenchOptions): Promise<Figures> =>
  onPostgres(async (on) => {
    const { ground, url: target } = on;
    const sides: [string, Child][] = [];
    for (const name of ['with', 'unbooked', 'without']) {
      const product = ground.product(options.profileTo);
      const stream = { loaders: 1, ...(name === 'without' ? { lanes: 1 } : {}) };
      const journal = join(ground.folder, name);
      const start: Start = { journal, target, stream, loaders: name === 'with' ? 'own' : 'plain' };
      await product.call('start', start);
      sides.push([name, product]);
    }
    const rows = rowsOf[options.size];
    const taken = await takeRounds(options, {
      rounds: rounds[options.size],
      take: async (isWarmUp) => {
        const round = new Map<string, Cost>();
        const own = isWarmUp ? rows * warmUpShare : rows;
        for (const [name, product] of sides) round.set(name, await measure(on, product, own));
        sides.reverse();
        return round;
      },
      tell: ({ ours, theirs, batchRows }) =>
        `ours ${ours.toFixed(2)}, theirs ${theirs.toFixed(2)} µs/row, ` +
        `${Math.round(batchRows)} rows a transaction`,
    });
    for (const [name, product] of sides) {
      await product.call('stop', name === 'with' ? {} : { drainMs: 0 });
    }
    return report(taken);
  });

/** One run of the same rows into the emptied table, until all are settled. */
async function measure(
  { client, postmaster }: PostgresGround,
  product: Child,
  rows: number,
): Promise<Cost> {
  await client.query('TRUNCATE payments');
  await client.query('CHECKPOINT');
  const before = await product.call<Standing>('standing');
  const meter = new CpuMeter();
  const [ourMs, theirMs] = [treeMs(product.pid), treeMs(postmaster)];
  await product.call('write', { first: 0, rows });
  const after = await product.call<Standing>('reach', { mark: 'settled' });
  const ours = ((treeMs(product.pid) - ourMs) * 1000) / rows;
  const theirs = ((treeMs(postmaster) - theirMs) * 1000) / rows;
  const others = meter.others();
  const counted = await client.query<{ count: string }>('SELECT count(*) FROM payments');
  assert.equal(Number(counted.rows[0]?.count), rows, 'every row is in the table once');
  assert.equal(after.accepted - before.accepted, rows, 'every row was accepted');
  const batchRows = rows / (after.batches - before.batches);
  return { ours, theirs, batchRows, others };
}

function report(taken: readonly Round<Cost>[]): Figures {
  const all = ({ ours, theirs }: Cost): number => ours + theirs;
  const figure = (value: (cost: Cost) => number, unit = 'µs/row') =>
    figureOver(taken, 'without', { unit, value, reference: 'with' });
  return {
    exactlyOnce: figure(all),
    books: figureOver(taken, 'unbooked', { unit: 'µs/row', value: all, reference: 'with' }),
    ours: figure(({ ours }) => ours),
    theirs: figure(({ theirs }) => theirs),
    batchRows: figure(({ batchRows }) => batchRows, 'rows'),
  };
}

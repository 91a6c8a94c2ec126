// bench staged: the staged route on PostgreSQL, its two halves apart, rows/s. Rounds of all in
// turn; what is in the tables is counted after each.
//
// direct: the library, bodies of 500 rows, 8 calls in flight, until the last row is settled; as the
//   library of bench path.
// stage: the same bodies with route 'staged' and no merger, until the last row is staged (L2).
//   `of`: direct.
// merge: the product opened again on what was staged, with its mergers; from when it is open until
//   the last row is settled (L2 to L3). `of`: bareLogged.
// bareLogged: INSERT … SELECT … ON CONFLICT DO NOTHING of the same rows from a plain table with
//   their key as its index, in key order, 20,000 rows a transaction, one connection.
// stageUnlogged, mergeUnlogged, bareUnlogged: the same with an unlogged staging table.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type pg from 'pg';
import type { Child } from './children.ts';
import type { BenchOptions, Figures, Size } from './figures.ts';
import { onPostgres } from './ground.ts';
import { CpuMeter } from './machine.ts';
import { firstKey } from './payments.ts';
import { copyPayments, transactionRows } from './postgres.ts';
import type { Standing, Start } from './product.ts';
import { inWords, type Rate, type Round, rateFigure, roundsOf, takeRounds } from './rounds.ts';

const rowsOf: { readonly [size in Size]: number } = { tiny: 5_000, usual: 1e6, full: 10e6 };
const warmUpShare = 0.2;

/** What each figure is compared with. */
const references: { readonly [name: string]: string } = {
  stage: 'direct',
  stageUnlogged: 'direct',
  merge: 'bareLogged',
  mergeUnlogged: 'bareUnlogged',
};

interface Parts {
  readonly client: pg.Client;
  readonly product: Child;
  readonly target: string;
  readonly directory: string;
}

export const benchStaged = (options: BenchOptions): Promise<Figures> =>
  onPostgres(async ({ ground, client, url: target }) => {
    const product = ground.product(options.profileTo);
    const rows = rowsOf[options.size];
    await fillStaging(client, rows);
    const parts = { client, product, target, directory: ground.folder };
    const taken = await takeRounds(options, {
      rounds: roundsOf[options.size],
      take: (isWarmUp) => measureRound(parts, isWarmUp ? rows * warmUpShare : rows),
      tell: ({ rate }) => inWords(rate),
    });
    const names = new Set(taken.flatMap((round) => [...round.keys()]));
    return Object.fromEntries(
      [...names].map((name) => [name, rateFigure(taken, name, references[name])]),
    );
  });

/** What the bare merges read, once for all rounds. */
async function fillStaging(client: pg.Client, rows: number): Promise<void> {
  for (const kind of ['logged', 'unlogged']) {
    const made = `CREATE ${kind === 'logged' ? '' : 'UNLOGGED'} TABLE bare_${kind}`;
    await client.query(`${made} (LIKE payments INCLUDING ALL)`);
    await copyPayments(client, `bare_${kind}`, { first: 0, rows });
    await client.query(`VACUUM ANALYZE bare_${kind}`);
  }
}

async function measureRound(parts: Parts, rows: number): Promise<Round<Rate>> {
  const round = new Map<string, Rate>();
  for (const kind of ['logged', 'unlogged']) {
    const name = kind === 'logged' ? 'bareLogged' : 'bareUnlogged';
    round.set(name, await measureBare(parts, `bare_${kind}`, rows));
  }
  round.set('direct', await measureDirect(parts, rows));
  for (const staging of ['logged', 'unlogged']) {
    const suffix = staging === 'logged' ? '' : 'Unlogged';
    const halves = await measureStaged(parts, staging, rows);
    round.set(`stage${suffix}`, halves.stage);
    round.set(`merge${suffix}`, halves.merge);
  }
  return round;
}

/** Empties the table; nothing of an earlier run is left to be written back. */
async function beginRun({ client }: Parts): Promise<void> {
  await client.query('TRUNCATE payments');
  await client.query('CHECKPOINT');
}

async function timed(rows: number, run: () => Promise<unknown>): Promise<Rate> {
  const meter = new CpuMeter();
  const begun = performance.now();
  await run();
  const seconds = (performance.now() - begun) / 1000;
  return { rate: rows / seconds, others: meter.others() };
}

async function checkCount({ client }: Parts, rows: number): Promise<void> {
  const result = await client.query<{ count: string }>('SELECT count(*) FROM payments');
  assert.equal(Number(result.rows[0]?.count), rows, 'every row is in the table once');
}

async function measureBare(parts: Parts, from: string, rows: number): Promise<Rate> {
  await beginRun(parts);
  const text =
    `INSERT INTO payments SELECT * FROM ${from} WHERE tx_id >= $1 AND tx_id < $2 ` +
    'ORDER BY tx_id ON CONFLICT DO NOTHING';
  const measured = await timed(rows, async () => {
    for (let done = 0; done < rows; done += transactionRows) {
      const values = [firstKey + done, firstKey + Math.min(done + transactionRows, rows)];
      await parts.client.query({ name: from, text, values });
    }
  });
  await checkCount(parts, rows);
  return measured;
}

/** The library's own process opens a new journal; answers with what it was opened with. */
async function startProduct({ product, target, directory }: Parts, stream: object): Promise<Start> {
  const journal = mkdtempSync(join(directory, 'journal-'));
  const start = { journal, target, stream };
  await product.call('start', start);
  return start;
}

async function checkBooks(parts: Parts, standing: Standing, rows: number): Promise<void> {
  assert.equal(standing.accepted, rows, 'every row was accepted');
  assert.equal(standing.merged, rows, 'every row was merged');
  assert.equal(standing.unaccounted, 0, 'the books balance');
  await checkCount(parts, rows);
}

async function measureDirect(parts: Parts, rows: number): Promise<Rate> {
  const { product } = parts;
  await beginRun(parts);
  const { journal } = await startProduct(parts, {});
  const measured = await timed(rows, async () => {
    await product.call('write', { first: 0, rows });
    await product.call('reach', { mark: 'settled' });
  });
  await checkBooks(parts, await product.call<Standing>('standing'), rows);
  await product.call('stop', {});
  rmSync(journal, { recursive: true });
  return measured;
}

async function measureStaged(parts: Parts, staging: string, rows: number) {
  const { product } = parts;
  await beginRun(parts);
  const stream = { route: 'staged', staging };
  const start = await startProduct(parts, { ...stream, mergers: 0 });
  const stage = await timed(rows, async () => {
    await product.call('write', { first: 0, rows });
    await product.call('reach', { mark: 'staged' });
  });
  const before = await product.call<Standing>('standing');
  assert.equal(before.settled, 0, 'nothing merges without mergers');
  await product.call('stop', { drainMs: 0 });
  await parts.client.query('CHECKPOINT');
  await product.call('start', { ...start, stream });
  // What is open has yet to take its lanes over: mergers begin behind that.
  const merge = await timed(rows, async () => {
    await product.call('reach', { mark: 'settled' });
  });
  await checkBooks(parts, await product.call<Standing>('standing'), rows);
  await product.call('stop', {});
  rmSync(start.journal, { recursive: true });
  return { stage, merge };
}

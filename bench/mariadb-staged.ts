// The staged route's part of bench mariadb: its two halves apart, rows/s. Rounds of all in turn;
// what is in the tables is counted after each. The names mean what they mean in bench staged.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Connection } from 'mysql2/promise';
import type { Child } from './children.ts';
import type { BenchOptions, Figures } from './figures.ts';
import { CpuMeter } from './machine.ts';
import { firstKey } from './payments.ts';
import type { Standing, Start } from './product.ts';
import { inWords, type Rate, type Round, rateFigure, roundsOf, takeRounds } from './rounds.ts';

const transactionRows = 20_000;
const warmUpShare = 0.2;

export interface StagedParts {
  readonly client: Connection;
  /** Nothing runs in it. */
  readonly product: Child;
  readonly target: string;
  readonly directory: string;
  /** So many rows stand in `payments`, with the keys of a run. */
  readonly rows: number;
}

export async function measureStagedRoute(
  parts: StagedParts,
  options: BenchOptions,
): Promise<Figures> {
  await parts.client.query('CREATE TABLE bare LIKE payments');
  await parts.client.query('INSERT INTO bare SELECT * FROM payments');
  const taken = await takeRounds(options, {
    rounds: roundsOf[options.size],
    take: (isWarmUp) =>
      takeRound({ ...parts, rows: isWarmUp ? parts.rows * warmUpShare : parts.rows }),
    tell: ({ rate }) => inWords(rate),
  });
  return {
    stage: rateFigure(taken, 'stage', 'stagedDirect'),
    merge: rateFigure(taken, 'merge', 'bare'),
  };
}

const takeRound = async (parts: StagedParts): Promise<Round<Rate>> =>
  new Map([
    ['bare', await measureBare(parts)],
    ['stagedDirect', await measureDirect(parts)],
    ...(await measureHalves(parts)),
  ]);

async function timed(rows: number, run: () => Promise<unknown>): Promise<Rate> {
  const meter = new CpuMeter();
  const begun = performance.now();
  await run();
  const seconds = (performance.now() - begun) / 1000;
  return { rate: rows / seconds, others: meter.others() };
}

async function checkCount({ client, rows }: StagedParts): Promise<void> {
  const [counted] = await client.query('SELECT COUNT(*) AS count FROM payments');
  const [row] = counted as { count: number }[];
  assert.equal(Number(row?.count), rows, 'every row is in the table once');
}

async function measureBare(parts: StagedParts): Promise<Rate> {
  await parts.client.query('TRUNCATE payments');
  const measured = await timed(parts.rows, async () => {
    for (let done = 0; done < parts.rows; done += transactionRows) {
      await parts.client.query(
        `INSERT INTO payments SELECT * FROM bare WHERE tx_id >= ? AND tx_id < ? ORDER BY tx_id
         ON DUPLICATE KEY UPDATE tx_id = payments.tx_id`,
        [firstKey + done, firstKey + Math.min(done + transactionRows, parts.rows)],
      );
    }
  });
  await checkCount(parts);
  return measured;
}

/** A new journal; answers with what it was opened with. */
async function start(parts: StagedParts, stream: object): Promise<Start> {
  const journal = mkdtempSync(join(parts.directory, 'journal-'));
  const started = { journal, target: parts.target, stream };
  await parts.product.call('start', started);
  return started;
}

async function checkBooks(parts: StagedParts): Promise<void> {
  const standing = await parts.product.call<Standing>('standing');
  assert.equal(standing.accepted, parts.rows, 'every row was accepted');
  assert.equal(standing.merged, parts.rows, 'every row was merged');
  assert.equal(standing.unaccounted, 0, 'the books balance');
  await checkCount(parts);
}

async function measureDirect(parts: StagedParts): Promise<Rate> {
  const { product, rows } = parts;
  await parts.client.query('TRUNCATE payments');
  const { journal } = await start(parts, {});
  const measured = await timed(rows, async () => {
    await product.call('write', { first: 0, rows });
    await product.call('reach', { mark: 'settled' });
  });
  await checkBooks(parts);
  await product.call('stop');
  rmSync(journal, { recursive: true });
  return measured;
}

async function measureHalves(parts: StagedParts): Promise<[string, Rate][]> {
  const { product, rows } = parts;
  const stream = { route: 'staged' };
  await parts.client.query('TRUNCATE payments');
  const started = await start(parts, { ...stream, mergers: 0 });
  const stage = await timed(rows, async () => {
    await product.call('write', { first: 0, rows });
    await product.call('reach', { mark: 'staged' });
  });
  const before = await product.call<Standing>('standing');
  assert.equal(before.settled, 0, 'nothing merges without mergers');
  await product.call('stop', { drainMs: 0 });
  const merge = await timed(rows, async () => {
    await product.call('start', { ...started, stream });
    await product.call('reach', { mark: 'settled' });
  });
  await checkBooks(parts);
  await product.call('stop');
  rmSync(started.journal, { recursive: true });
  // What is merged would wait there for its day to end.
  await parts.client.query('TRUNCATE holdfast_stage_payments');
  return [
    ['stage', stage],
    ['merge', merge],
  ];
}

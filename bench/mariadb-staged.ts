// The staged route's part of bench mariadb: its two halves apart, rows/s. Rounds of all in turn;
// what is in the tables is counted after each. The names mean what they mean in bench staged.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Connection } from 'mysql2/promise';
import type { Child } from './children.ts';
import { type BenchOptions, type Figures, figureOf, type Run } from './figures.ts';
import { CpuMeter } from './machine.ts';
import { firstKey } from './payments.ts';
import type { Standing, Start } from './product.ts';

const rounds = 3;
const transactionRows = 20_000;
/** No further round is begun after this. */
const budgetMs = 150_000;

export interface StagedParts {
  readonly client: Connection;
  /** Nothing runs in it. */
  readonly product: Child;
  readonly target: string;
  readonly directory: string;
  /** So many rows stand in `payments`, with the keys of a run. */
  readonly rows: number;
}

interface Measured {
  readonly rate: number;
  readonly others: number;
}

type Round = ReadonlyMap<string, Measured>;

export async function measureStagedRoute(
  parts: StagedParts,
  { say }: Pick<BenchOptions, 'say'>,
): Promise<Figures> {
  await parts.client.query('CREATE TABLE bare LIKE payments');
  await parts.client.query('INSERT INTO bare SELECT * FROM payments');
  const taken: Round[] = [];
  const begun = performance.now();
  for (let round = 0; round <= rounds && performance.now() - begun < budgetMs; round++) {
    const own = { ...parts, rows: round === 0 ? parts.rows / 5 : parts.rows };
    const measured = new Map([
      ['bare', await measureBare(own)],
      ['direct', await measureDirect(own)],
      ...(await measureHalves(own)),
    ]);
    if (round > 0) taken.push(measured);
    say(round === 0 ? 'warming up:' : `staged, round ${round} of ${rounds}:`);
    for (const [name, { rate, others }] of measured) {
      const rows = Math.round(rate).toLocaleString('en');
      say(`  ${name} ${rows} rows/s, others ${Math.round(others * 100)} %`);
    }
  }
  return { stage: figure(taken, 'stage', 'direct'), merge: figure(taken, 'merge', 'bare') };
}

const figure = (taken: readonly Round[], name: string, reference: string) =>
  figureOf(
    'rows/s',
    taken.flatMap((round): Run[] => {
      const [own, of] = [round.get(name), round.get(reference)];
      return own && of ? [{ value: own.rate, of: of.rate, others: own.others }] : [];
    }),
  );

async function timed(rows: number, run: () => Promise<unknown>): Promise<Measured> {
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

async function measureBare(parts: StagedParts): Promise<Measured> {
  await parts.client.query('TRUNCATE payments');
  const measured = await timed(parts.rows, async () => {
    for (let done = 0; done < parts.rows; done += transactionRows) {
      await parts.client.query(
        `INSERT INTO payments SELECT * FROM bare WHERE tx_id >= ? AND tx_id < ? ORDER BY tx_id
         ON DUPLICATE KEY UPDATE tx_id = payments.tx_id`,
        [firstKey + done, firstKey + done + transactionRows],
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

async function measureDirect(parts: StagedParts): Promise<Measured> {
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

async function measureHalves(parts: StagedParts): Promise<[string, Measured][]> {
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

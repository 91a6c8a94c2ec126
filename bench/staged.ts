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
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { Child } from './children.ts';
import { type BenchOptions, type Figure, type Figures, figureOf } from './figures.ts';
import { CpuMeter } from './machine.ts';
import { createPayments, firstKey } from './payments.ts';
import { copyPayments, startBenchPostgres, transactionRows } from './postgres.ts';
import type { Standing, Start } from './product.ts';

const rowsPerRun = 1_000_000;
const warmUpRows = 200_000;
const rounds = 3;
/** No further round is begun after this. */
const budgetMs = 150_000;

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

interface Measured {
  readonly rate: number;
  readonly others: number;
}

/** Figures of one round by name. */
type Round = ReadonlyMap<string, Measured>;

export async function benchStaged({ say, profileTo }: BenchOptions): Promise<Figures> {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
  const server = await startBenchPostgres();
  const execArgv =
    profileTo === undefined
      ? []
      : ['--cpu-prof', `--cpu-prof-dir=${profileTo}`, '--cpu-prof-interval=500'];
  const product = new Child('product.ts', { execArgv });
  try {
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    await client.query(createPayments);
    await fillStaging(client);
    const parts = { client, product, target: server.url, directory };
    const taken = await measureAll(parts, say);
    await product.end();
    await client.end();
    return report(taken);
  } finally {
    product.kill();
    await server.stop();
    rmSync(directory, { recursive: true });
  }
}

/** What the bare merges read, once for all rounds. */
async function fillStaging(client: pg.Client): Promise<void> {
  for (const kind of ['logged', 'unlogged']) {
    const made = `CREATE ${kind === 'logged' ? '' : 'UNLOGGED'} TABLE bare_${kind}`;
    await client.query(`${made} (LIKE payments INCLUDING ALL)`);
    await copyPayments(client, `bare_${kind}`, { first: 0, rows: rowsPerRun });
    await client.query(`VACUUM ANALYZE bare_${kind}`);
  }
}

async function measureAll(parts: Parts, say: BenchOptions['say']): Promise<Round[]> {
  const taken: Round[] = [];
  const begun = performance.now();
  for (let round = 0; round <= rounds && performance.now() - begun < budgetMs; round++) {
    const measured = await measureRound(parts, round === 0 ? warmUpRows : rowsPerRun);
    if (round > 0) taken.push(measured);
    say(round === 0 ? 'warming up:' : `round ${round} of ${rounds}:`);
    for (const [name, { rate, others }] of measured) {
      const rows = Math.round(rate).toLocaleString('en');
      say(`  ${name} ${rows} rows/s, others ${Math.round(others * 100)} %`);
    }
  }
  return taken;
}

async function measureRound(parts: Parts, rows: number): Promise<Round> {
  const round = new Map<string, Measured>();
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

async function timed(rows: number, run: () => Promise<unknown>): Promise<Measured> {
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

async function measureBare(parts: Parts, from: string, rows: number): Promise<Measured> {
  await beginRun(parts);
  const text =
    `INSERT INTO payments SELECT * FROM ${from} WHERE tx_id >= $1 AND tx_id < $2 ` +
    'ORDER BY tx_id ON CONFLICT DO NOTHING';
  const measured = await timed(rows, async () => {
    for (let done = 0; done < rows; done += transactionRows) {
      const values = [firstKey + done, firstKey + done + transactionRows];
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

async function measureDirect(parts: Parts, rows: number): Promise<Measured> {
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

function report(taken: readonly Round[]): Figures {
  const names = new Set(taken.flatMap((round) => [...round.keys()]));
  const figure = (name: string): Figure => {
    const runs = taken.flatMap((round) => {
      const own = round.get(name);
      if (!own) return [];
      const of = round.get(references[name] ?? '')?.rate;
      return [{ value: own.rate, others: own.others, ...(of === undefined ? {} : { of }) }];
    });
    return figureOf('rows/s', runs);
  };
  return Object.fromEntries([...names].map((name) => [name, figure(name)]));
}

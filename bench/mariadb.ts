// bench mariadb: rows/s from NDJSON bytes to a MariaDB table with a primary key, until the last row
// is settled, beside a plain LOAD DATA of the same rows. Rounds of both in turn, each into the same
// table, emptied; then COUNT(*) must be what was accepted, and the books must balance.
//
// loadData: one connection, LOAD DATA LOCAL INFILE, lines written ahead, 20,000 rows a transaction.
// direct: writeBytes of bodies of 500 rows, 8 calls in flight, in the product's process.
// stage, merge: the staged route's halves (mariadb-staged.ts). `of`: direct, and a bare INSERT …
//   SELECT … ON DUPLICATE KEY UPDATE of the same rows from a table in key order, 20,000 rows a
//   transaction.
// …Cpu: µs of CPU time a row, the product's; …ServerCpu: MariaDB's.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { Connection } from 'mysql2/promise';
import { connect, createMariadb, startMariadb } from '../test/support/mariadb.ts';
import { Child } from './children.ts';
import { type BenchOptions, type Figure, type Figures, figureOf, type Run } from './figures.ts';
import { CpuMeter, treeMs } from './machine.ts';
import { measureStagedRoute } from './mariadb-staged.ts';
import { LoadLines } from './payments.ts';
import type { Rows, Standing, Start } from './product.ts';

const rowsPerRun = 500_000;
const warmUpRows = 100_000;
const rounds = 3;
const transactionRows = 20_000;
/** No further round is begun after this. */
const budgetMs = 120_000;

const createPayments = `CREATE TABLE payments (
  tx_id bigint PRIMARY KEY,
  user_id bigint NOT NULL,
  amount decimal(18,2) NOT NULL,
  status varchar(20) NOT NULL,
  created_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  note text
)`;

interface Parts {
  readonly client: Connection;
  readonly product: Child;
  readonly server: number;
}

interface Measured {
  readonly rate: number;
  readonly others: number;
  readonly productCpu: number;
  readonly serverCpu: number;
}

type Write = (rows: Rows) => Promise<unknown>;

export async function benchMariadb(options: BenchOptions): Promise<Figures> {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
  // As MariaDB comes, but for the tests' binary log and small buffers.
  const settings = ['--skip-log-bin', '--innodb-buffer-pool-size=128M'];
  const server = await startMariadb('MariaDB 10.11', settings);
  const { profileTo } = options;
  const execArgv =
    profileTo === undefined
      ? []
      : ['--cpu-prof', `--cpu-prof-dir=${profileTo}`, '--cpu-prof-interval=500'];
  const product = new Child('product.ts', { execArgv });
  try {
    const target = await createMariadb(server, 'bench');
    const client = await connect(target);
    await client.query(createPayments);
    const start: Start = { journal: join(directory, 'journal'), target };
    await product.call('start', start);
    const figures = await measureAll({ client, product, server: server.pid }, options);
    await product.call('stop', {});
    const parts = { client, product, target, directory, rows: rowsPerRun };
    const staged = await measureStagedRoute(parts, options);
    await product.end();
    await client.end();
    return { ...figures, ...staged };
  } finally {
    product.kill();
    await server.stop();
    rmSync(directory, { recursive: true });
  }
}

async function measureAll(parts: Parts, { say }: BenchOptions): Promise<Figures> {
  const writes: readonly (readonly [string, Write])[] = [
    ['loadData', (rows) => loadRows(parts.client, rows)],
    ['direct', (rows) => parts.product.call('write', rows)],
  ];
  const runs = new Map<string, Measured[]>(writes.map(([name]) => [name, []]));
  const begun = performance.now();
  for (let round = 0; round <= rounds && performance.now() - begun < budgetMs; round++) {
    for (const [name, write] of writes) {
      const rows = round === 0 ? warmUpRows : rowsPerRun;
      const measured = await measure(parts, { rows, write, isBare: name === 'loadData' });
      if (round > 0) runs.get(name)?.push(measured);
      const others = Math.round(measured.others * 100);
      const what = round === 0 ? 'warming up' : `round ${round} of ${rounds}`;
      const rate = Math.round(measured.rate).toLocaleString('en');
      say(`${what}: ${name} ${rate} rows/s, others ${others} %`);
    }
  }
  return report(runs);
}

/** One run into the emptied table, until all is settled; checked. */
async function measure(
  { client, product, server }: Parts,
  run: { readonly rows: number; readonly write: Write; readonly isBare: boolean },
): Promise<Measured> {
  await client.query('TRUNCATE payments');
  const before = await product.call<Standing>('reach', { mark: 'settled' });
  const meter = new CpuMeter();
  const [productMs, serverMs] = [treeMs(product.pid), treeMs(server)];
  const begun = performance.now();
  await run.write({ first: 0, rows: run.rows });
  const after = await product.call<Standing>('reach', { mark: 'settled' });
  const seconds = (performance.now() - begun) / 1000;
  const others = meter.others();
  const perRow = (ms: number): number => (ms * 1000) / run.rows;
  const productCpu = perRow(treeMs(product.pid) - productMs);
  const serverCpu = perRow(treeMs(server) - serverMs);
  const [counted] = await client.query('SELECT COUNT(*) AS count FROM payments');
  const [row] = counted as { count: number }[];
  assert.equal(Number(row?.count), run.rows, 'every row is in the table once');
  const accepted = run.isBare ? 0 : run.rows;
  assert.equal(after.accepted - before.accepted, accepted, 'every row was accepted');
  assert.equal(after.merged - before.merged, accepted, 'every row was merged');
  assert.equal(after.unaccounted, 0, 'the books balance');
  return { rate: run.rows / seconds, others, productCpu, serverCpu };
}

/** One LOAD after another; each commits by itself. */
async function loadRows(client: Connection, { first, rows }: Rows): Promise<void> {
  await client.query("SET time_zone = '+00:00'");
  const lines = new LoadLines(transactionRows);
  for (let done = 0; done < rows; done += transactionRows) {
    lines.setKeys(first + done);
    await client.query({
      sql: `LOAD DATA LOCAL INFILE 'rows' INTO TABLE payments CHARACTER SET utf8mb4
        (tx_id, user_id, amount, status, created_at, note)`,
      infileStreamFactory: () => Readable.from(lines.chunks(), { objectMode: false }),
    });
  }
}

function report(runs: ReadonlyMap<string, readonly Measured[]>): Figures {
  const bare = runs.get('loadData') ?? [];
  const figures: Record<string, Figure> = {};
  const cpu: Record<string, Figure> = {};
  for (const [name, own] of runs) {
    const isBare = name === 'loadData';
    const rates = own.map(({ rate, others }, i): Run => {
      const of = bare[i]?.rate;
      return { value: rate, others, ...(isBare || of === undefined ? {} : { of }) };
    });
    figures[name] = figureOf('rows/s', rates);
    const costs = (of: 'productCpu' | 'serverCpu'): Figure =>
      figureOf(
        'µs/row',
        own.map((run) => ({ value: run[of], others: run.others })),
      );
    cpu[`${name}ServerCpu`] = costs('serverCpu');
    if (!isBare) cpu[`${name}Cpu`] = costs('productCpu');
  }
  return { ...figures, ...cpu };
}

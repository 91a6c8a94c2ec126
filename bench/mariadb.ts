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
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { Connection } from 'mysql2/promise';
import { connect, createMariadb, startMariadb } from '../test/support/mariadb.ts';
import type { Child } from './children.ts';
import type { BenchOptions, Figures, Size } from './figures.ts';
import { onGround } from './ground.ts';
import { CpuMeter, treeMs } from './machine.ts';
import { measureStagedRoute } from './mariadb-staged.ts';
import { LoadLines } from './payments.ts';
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

const rowsOf: { readonly [size in Size]: number } = { tiny: 5_000, usual: 500_000, full: 5e6 };
const warmUpShare = 0.2;
const transactionRows = 20_000;
/** Of the time; the rest is for the staged route. */
const directShare = 0.4;

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

interface Measured extends Rate {
  readonly productCpu: number;
  readonly serverCpu: number;
}

type Write = (rows: Rows) => Promise<unknown>;

export const benchMariadb = (options: BenchOptions): Promise<Figures> =>
  onGround(async (ground) => {
    // As MariaDB comes, but for the tests' binary log and small buffers.
    const settings = ['--skip-log-bin', '--innodb-buffer-pool-size=128M'];
    const server = await startMariadb('MariaDB 10.11', settings);
    try {
      const product = ground.product(options.profileTo);
      const target = await createMariadb(server, 'bench');
      const client = await connect(target);
      await client.query(createPayments);
      const start: Start = { journal: join(ground.folder, 'journal'), target };
      await product.call('start', start);
      const rows = rowsOf[options.size];
      const taken = await takeRounds(options, {
        rounds: roundsOf[options.size],
        share: directShare,
        take: (isWarmUp) =>
          takeRound({ client, product, server: server.pid }, isWarmUp ? rows * warmUpShare : rows),
        tell: ({ rate }) => inWords(rate),
      });
      await product.call('stop', {});
      const parts = { client, product, target, directory: ground.folder, rows };
      const staged = await measureStagedRoute(parts, options);
      await client.end();
      return { ...report(taken), ...staged };
    } finally {
      await server.stop();
    }
  });

async function takeRound(parts: Parts, rows: number): Promise<Round<Measured>> {
  const { client, product } = parts;
  const bare: Write = (of) => loadRows(client, of);
  const direct: Write = (of) => product.call('write', of);
  return new Map([
    ['loadData', await measure(parts, { rows, write: bare, isBare: true })],
    ['direct', await measure(parts, { rows, write: direct, isBare: false })],
  ]);
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
  const rowsEach = Math.min(rows, transactionRows);
  const lines = new LoadLines(rowsEach);
  for (let done = 0; done < rows; done += rowsEach) {
    lines.setKeys(first + done);
    await client.query({
      sql: `LOAD DATA LOCAL INFILE 'rows' INTO TABLE payments CHARACTER SET utf8mb4
        (tx_id, user_id, amount, status, created_at, note)`,
      infileStreamFactory: () => Readable.from(lines.chunks(), { objectMode: false }),
    });
  }
}

function report(taken: readonly Round<Measured>[]): Figures {
  const cpu = (name: string, value: (measured: Measured) => number) =>
    figureOver(taken, name, { unit: 'µs/row', value });
  return {
    loadData: rateFigure(taken, 'loadData'),
    direct: rateFigure(taken, 'direct', 'loadData'),
    loadDataServerCpu: cpu('loadData', ({ serverCpu }) => serverCpu),
    directServerCpu: cpu('direct', ({ serverCpu }) => serverCpu),
    directCpu: cpu('direct', ({ productCpu }) => productCpu),
  };
}

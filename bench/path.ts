// bench path: rows/s from NDJSON bytes to a PostgreSQL table with a primary key, until the last row
// is settled, beside a plain binary COPY of the same rows. Rounds of all three in turn, each into
// the same table, emptied; then count(*) must be what was accepted, and the books must balance.
//
// bareCopy: one connection, pg-copy-streams, tuples encoded ahead, 20,000 rows a transaction.
// library: writeBytes of bodies of 500 rows, 8 calls in flight, in the product's process.
// http: the same bodies over 8 loopback connections from a process of their own.
// rss: the most memory that the product's process had. …Cpu: µs of CPU time a row.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { Child } from './children.ts';
import { type BenchOptions, type Figure, type Figures, figureOf, type Run } from './figures.ts';
import type { Load } from './generator.ts';
import { CpuMeter, treeMs } from './machine.ts';
import { createPayments } from './payments.ts';
import { copyPayments, startBenchPostgres } from './postgres.ts';
import type { Rows, Standing, Start } from './product.ts';

const rowsPerRun = 1_000_000;
const warmUpRows = 200_000;
const rounds = 3;
const connections = 8;
/** No further round is begun after this. */
const budgetMs = 150_000;

interface Parts {
  readonly client: pg.Client;
  readonly product: Child;
  readonly generator: Child;
  readonly url: string;
  readonly postmaster: number;
}

/** What one run of one of the three took. */
interface Measured {
  readonly rate: number;
  readonly others: number;
  /** µs of CPU time a row: the product's, and PostgreSQL's. */
  readonly productCpu: number;
  readonly serverCpu: number;
}

type Write = (rows: Rows) => Promise<unknown>;

export async function benchPath(options: BenchOptions): Promise<Figures> {
  const directory = mkdtempSync(join(tmpdir(), 'holdfast-bench-'));
  const server = await startBenchPostgres();
  const { profileTo } = options;
  const execArgv =
    profileTo === undefined
      ? []
      : ['--cpu-prof', `--cpu-prof-dir=${profileTo}`, '--cpu-prof-interval=500'];
  const product = new Child('product.ts', { execArgv });
  const generator = new Child('generator.ts');
  try {
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    await client.query(createPayments);
    const target = server.url;
    const start: Start = { journal: join(directory, 'journal'), target };
    const url = await product.call<string>('start', start);
    const postmaster = Number.parseInt(
      readFileSync(join(server.dataFolder, 'postmaster.pid'), 'utf8'),
      10,
    );
    const figures = await measureAll({ client, product, generator, url, postmaster }, options);
    await product.call('stop', {});
    await Promise.all([product.end(), generator.end()]);
    await client.end();
    return figures;
  } finally {
    product.kill();
    generator.kill();
    await server.stop();
    rmSync(directory, { recursive: true });
  }
}

async function measureAll(parts: Parts, { say }: BenchOptions): Promise<Figures> {
  const { client, product, generator, url } = parts;
  const writes: readonly (readonly [string, Write])[] = [
    ['bareCopy', (rows) => copyPayments(client, 'payments', rows)],
    ['library', (rows) => product.call('write', rows)],
    ['http', (rows) => generator.call('load', { url, connections, ...rows } satisfies Load)],
  ];
  const runs = new Map<string, Measured[]>(writes.map(([name]) => [name, []]));
  const begun = performance.now();
  let rssMax = 0;
  for (let round = 0; round <= rounds && performance.now() - begun < budgetMs; round++) {
    for (const [name, write] of writes) {
      const rows = round === 0 ? warmUpRows : rowsPerRun;
      const measured = await measure(parts, { rows, write, isBare: name === 'bareCopy' });
      rssMax = Math.max(rssMax, measured.rssMax);
      if (round > 0) runs.get(name)?.push(measured);
      const others = Math.round(measured.others * 100);
      const what = round === 0 ? 'warming up' : `round ${round} of ${rounds}`;
      say(
        `${what}: ${name} ${Math.round(measured.rate).toLocaleString('en')} rows/s, others ${others} %`,
      );
    }
  }
  return report(runs, rssMax);
}

/** One run into the emptied table, until all is settled; checked. */
async function measure(
  { client, product, postmaster }: Parts,
  run: { readonly rows: number; readonly write: Write; readonly isBare: boolean },
): Promise<Measured & { readonly rssMax: number }> {
  await client.query('TRUNCATE payments');
  await client.query('CHECKPOINT');
  const before = await product.call<Standing>('reach', { mark: 'settled' });
  const meter = new CpuMeter();
  const productMs = treeMs(product.pid);
  const serverMs = treeMs(postmaster);
  const begun = performance.now();
  await run.write({ first: 0, rows: run.rows });
  const after = await product.call<Standing>('reach', { mark: 'settled' });
  const seconds = (performance.now() - begun) / 1000;
  const others = meter.others();
  const perRow = (ms: number): number => (ms * 1000) / run.rows;
  const productCpu = perRow(treeMs(product.pid) - productMs);
  const serverCpu = perRow(treeMs(postmaster) - serverMs);
  const { rows } = await client.query<{ count: string }>('SELECT count(*) FROM payments');
  assert.equal(Number(rows[0]?.count), run.rows, 'every row is in the table once');
  const accepted = run.isBare ? 0 : run.rows;
  assert.equal(after.accepted - before.accepted, accepted, 'every row was accepted');
  assert.equal(after.merged - before.merged, accepted, 'every row was merged');
  assert.equal(after.unaccounted, 0, 'the books balance');
  return { rate: run.rows / seconds, others, productCpu, serverCpu, rssMax: after.rssMax };
}

function report(runs: ReadonlyMap<string, readonly Measured[]>, rssMax: number): Figures {
  const bare = runs.get('bareCopy') ?? [];
  const figures: Record<string, Figure> = {};
  const cpu: Record<string, Figure> = {};
  for (const [name, own] of runs) {
    const isBare = name === 'bareCopy';
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
  const others = Math.max(...bare.map((run) => run.others));
  return { ...figures, rss: figureOf('MB', [{ value: rssMax, others }]), ...cpu };
}

// PostgreSQL 18 for benches, and the bare COPY that they compare with.
import type pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { connect, type PostgresServer, query, startPostgres } from '../test/support/postgres.ts';
import { CopyStream, createPayments } from './payments.ts';
import type { Rows } from './product.ts';

export const transactionRows = 20_000;

export type PostgresSettings = { readonly [name: string]: string };

/** As PostgreSQL comes, fsync on; the small buffers that tests give it are set back. */
export async function startBenchPostgres(settings: PostgresSettings = {}): Promise<PostgresServer> {
  const server = await startPostgres();
  for (const [name, value] of Object.entries({ shared_buffers: '128MB', ...settings })) {
    await query(server.url, `ALTER SYSTEM SET ${name} = '${value}'`);
  }
  await server.restart();
  return server;
}

/** One COPY of its own transaction. */
export async function copyStream(
  client: pg.Client,
  table: string,
  { bytes }: CopyStream,
): Promise<void> {
  const copy = client.query(copyFrom(`COPY ${table} FROM STDIN (FORMAT binary)`));
  await new Promise<void>((resolve, reject) => {
    copy.on('finish', resolve);
    copy.on('error', reject);
    copy.end(bytes);
  });
}

/**
 * One COPY after another, the next one's keys written while the last one is on its way, until so
 * many rows are there and so much time has passed; answers with how many rows that were.
 */
export async function copyPayments(
  client: pg.Client,
  table: string,
  { first, rows, keys, msMin = 0 }: Rows & { readonly msMin?: number },
): Promise<number> {
  const rowsEach = Math.min(rows, transactionRows);
  let [now, next] = [new CopyStream(rowsEach), new CopyStream(rowsEach)];
  const begun = performance.now();
  now.setKeys(first, keys);
  for (let done = rowsEach; ; done += rowsEach) {
    const sent = copyStream(client, table, now);
    next.setKeys(first + done, keys);
    await sent;
    if (done >= rows && performance.now() - begun >= msMin) return done;
    [now, next] = [next, now];
  }
}

/** Another database on the server of `url`, with the empty table `payments`: its URL. */
export async function createPaymentsDatabase(url: string, name: string): Promise<string> {
  await query(url, `CREATE DATABASE ${name}`);
  const own = url.replace(/\/postgres$/, `/${name}`);
  await query(own, createPayments);
  return own;
}

/** Empties `payments`, at which nobody else gets until the answer is called: loaders wait. */
export async function lockPayments(url: string): Promise<() => Promise<void>> {
  const client = await connect(url);
  // Where the bench fails the server ends first; the bench's own error says more.
  client.on('error', () => undefined);
  // Takes the lock that keeps out even readers.
  await client.query('BEGIN; TRUNCATE payments');
  return async () => {
    await client.query('COMMIT');
    await client.end();
  };
}

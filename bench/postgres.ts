// PostgreSQL 18 for benches, and the bare COPY that they compare with.
import assert from 'node:assert/strict';
import type pg from 'pg';
import { from as copyFrom } from 'pg-copy-streams';
import { type PostgresServer, query, startPostgres } from '../test/support/postgres.ts';
import { CopyStream } from './payments.ts';
import type { Rows } from './product.ts';

export const transactionRows = 20_000;

/** As PostgreSQL comes, fsync on, but for the small buffers that tests give it. */
export async function startBenchPostgres(): Promise<PostgresServer> {
  const server = await startPostgres();
  await query(server.url, "ALTER SYSTEM SET shared_buffers = '128MB'");
  await server.restart();
  return server;
}

/**
 * One COPY after another; the next transaction's keys are written while the last one is finishing.
 */
export async function copyPayments(
  client: pg.Client,
  table: string,
  { first, rows }: Rows,
): Promise<void> {
  const streams = [new CopyStream(transactionRows), new CopyStream(transactionRows)];
  for (let done = 0, i = 0; done < rows; done += transactionRows, i++) {
    const stream = streams[i % 2];
    assert(stream);
    stream.setKeys(first + done);
    const copy = client.query(copyFrom(`COPY ${table} FROM STDIN (FORMAT binary)`));
    await new Promise<void>((resolve, reject) => {
      copy.on('finish', resolve);
      copy.on('error', reject);
      copy.end(stream.bytes);
    });
  }
}

// PostgreSQL 18 for benches: as it comes, fsync on, but for the small buffers that tests give it.
import { type PostgresServer, query, startPostgres } from '../test/support/postgres.ts';

export async function startBenchPostgres(): Promise<PostgresServer> {
  const server = await startPostgres();
  await query(server.url, "ALTER SYSTEM SET shared_buffers = '128MB'");
  await server.restart();
  return server;
}

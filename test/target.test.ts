// The contract of test/support/target-contract.ts for every dialect at hand.
import { systemClock } from '../src/clock.ts';
import { postgresTarget } from '../src/target/postgres/target.ts';
import {
  createDatabase,
  hasPostgres,
  type PostgresVersion,
  query,
  startPostgres,
} from './support/postgres.ts';
import { contract } from './support/target-contract.ts';
import type { Ground } from './support/target-stream.ts';

async function postgresGround(version: PostgresVersion): Promise<Ground> {
  const server = await startPostgres(version);
  const url = await createDatabase(server, 'contract');
  const target = postgresTarget(url, { clock: systemClock });
  const sql = (text: string) => query(url, text);
  return {
    target,
    create: async (table, shape) => {
      await sql(`CREATE TABLE ${table} (
        id bigint NOT NULL ${shape === 'keyed' ? 'PRIMARY KEY' : ''},
        amount bigint NOT NULL DEFAULT 1, note text DEFAULT 'none' CHECK (note <> 'bad'),
        version bigint NOT NULL DEFAULT 0)`);
    },
    rows: async (table) => {
      const rows = await sql(`SELECT id::text, amount::text, note, version::text
        FROM ${table} t ORDER BY t.id, t.amount, t.note`);
      return rows as { [column: string]: string | null }[];
    },
    remove: async (table, id) => {
      await sql(`DELETE FROM ${table} WHERE id = ${id}`);
    },
    widen: async (table, column) => {
      await sql(`ALTER TABLE ${table} ADD COLUMN ${column} bigint`);
    },
    drop: async (table) => {
      await sql(`DROP TABLE ${table}`);
    },
    close: async () => {
      await target.close();
      await server.stop();
    },
  };
}

for (const version of ['18', '15'] as const) {
  if (hasPostgres(version)) contract(`PostgreSQL ${version}`, () => postgresGround(version));
}

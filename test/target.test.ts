// The contract of test/support/target-contract.ts for every dialect at hand.
import assert from 'node:assert/strict';
import { systemClock } from '../src/clock.ts';
import { postgresTarget } from '../src/target/postgres/target.ts';
import type { Route } from '../src/target/target.ts';
import { dayOf, type StagedSlice, stagedCells } from './simulation/simulated-stage.ts';
import { claimKey } from './simulation/simulated-staging.ts';
import type { Cell, StoredRow } from './simulation/simulated-store.ts';
import { SimulatedTarget } from './simulation/simulated-target.ts';
import { mariadbGround } from './support/mariadb-ground.ts';
import {
  connect as connectPostgres,
  createDatabase,
  hasPostgres,
  type PostgresVersion,
  query,
  startPostgres,
} from './support/postgres.ts';
import { column } from './support/rows.ts';
import { sqliteGround } from './support/sqlite.ts';
import { contract, stagedContract } from './support/target-contract.ts';
import type { Ground, StagedGround } from './support/target-stream.ts';

async function postgresGround(version: PostgresVersion, route: Route): Promise<Ground> {
  const server = await startPostgres(version);
  const url = await createDatabase(server, 'contract');
  const target = postgresTarget(url, { clock: systemClock });
  const sql = (text: string) => query(url, text);
  return {
    target,
    route,
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
    dropKey: async (table) => {
      await sql(`ALTER TABLE ${table} DROP CONSTRAINT ${table}_pkey`);
    },
    makeKey: async (table) => {
      await sql(`ALTER TABLE ${table} ADD PRIMARY KEY (id)`);
    },
    drop: async (table) => {
      await sql(`DROP TABLE ${table}`);
    },
    staged: postgresStaging(url),
    close: async () => {
      await target.close();
      await server.stop();
    },
  };
}

function postgresStaging(url: string): StagedGround {
  const sql = (text: string) => query(url, text);
  return {
    wipe: async (stream) => {
      await sql(`TRUNCATE "holdfast_stage_${stream}"`);
    },
    lose: async (stream, id) => {
      await sql(`DELETE FROM "holdfast_stage_${stream}" WHERE id = ${id}`);
    },
    retag: async (stream) => {
      await sql(`UPDATE "holdfast_stage_${stream}" SET holdfast_digest = holdfast_digest + 1`);
    },
    claimed: async (stream, lane, work) => {
      const other = await connectPostgres(url);
      await other.query('BEGIN');
      await other.query(`SELECT 1 FROM holdfast_claims
        WHERE stream = '${stream}' AND lane = ${lane} FOR UPDATE`);
      try {
        await work();
      } finally {
        await other.query('ROLLBACK');
        await other.end();
      }
    },
    age: async (stream, days) => {
      const table = `holdfast_stage_${stream}`;
      const [row = {}] = await sql(`SELECT to_char(day, 'YYYYMMDD') AS suffix, day::text AS first,
        (day + 1)::text AS next
        FROM (SELECT (now() AT TIME ZONE 'UTC')::date - ${days} AS day) d`);
      const [suffix, first, next] = ['suffix', 'first', 'next'].map((name) => String(row[name]));
      await sql(`CREATE TABLE "${table}_p${suffix}" PARTITION OF "${table}"
          FOR VALUES FROM ('${first}') TO ('${next}');
        UPDATE "${table}" SET holdfast_day = '${first}'`);
    },
  };
}

async function simulatedGround(route: Route): Promise<Ground> {
  // What comes late here comes after its test.
  const target = new SimulatedTarget({ clock: systemClock, lateMsMax: 1e9 });
  const int = { kind: 'int', bytes: 8 } as const;
  const optional = { nullable: true, hasDefault: true };
  const columns = [
    { column: column('id', int) },
    { column: column('amount', int, { hasDefault: true }), value: 1 },
    { column: column('note', { kind: 'text' }, optional), value: 'none' },
    { column: column('version', int, { hasDefault: true }), value: 0 },
  ];
  const text = (cell: Cell) => (cell === null || cell instanceof Uint8Array ? null : String(cell));
  return {
    target,
    route,
    create: async (table, shape) => {
      const refuse = (row: StoredRow) => (row['note'] === 'bad' ? 'note is bad' : undefined);
      target.createTable(table, { columns, key: shape === 'keyed' ? ['id'] : [], refuse });
    },
    rows: async (table) =>
      target
        .rows(table)
        .toSorted((a, b) => Number(a['id']) - Number(b['id']))
        .map((row) =>
          Object.fromEntries(Object.entries(row).map(([name, cell]) => [name, text(cell)])),
        ),
    remove: async (table, id) => {
      const { rows } = target.store.table(table);
      for (const [key, row] of rows) if (row['id'] === id) rows.delete(key);
    },
    widen: async (table, name) => {
      const added = { column: column(name, int, optional) };
      target.alterTable(table, [...target.store.table(table).columns, added]);
    },
    dropKey: async (table) => target.alterTable(table, { key: [] }),
    makeKey: async (table) => target.alterTable(table, { key: ['id'] }),
    drop: async (table) => {
      target.dropTable(table);
    },
    staged: simulatedStaging(target),
    close: () => target.close(),
  };
}

function simulatedStaging({ store, server }: SimulatedTarget): StagedGround {
  const slicesOf = (stream: string) => [...(store.stages.get(stream)?.slices.values() ?? [])];
  const replace = (stream: string, to: (slice: StagedSlice) => StagedSlice): void => {
    for (const slices of slicesOf(stream)) slices.splice(0, slices.length, ...slices.map(to));
  };
  return {
    wipe: async (stream) => store.stages.get(stream)?.slices.clear(),
    lose: async (stream, id) => {
      replace(stream, (slice) => ({
        ...slice,
        rows: slice.rows.filter((row) => stagedCells(slice, row)['id'] !== id),
      }));
    },
    claimed: async (stream, lane, work) => {
      const caller = {
        id: 'another',
        life: server.life,
        isGone: false,
        gone: AbortSignal.any([]),
      };
      const claims = () => [claimKey(stream, lane)];
      const body = () => undefined;
      server.inject(server.trace.length + 1, 'late, locked');
      const claiming = server.call(caller, { name: 'other', writes: true, claims, body });
      await assert.rejects(claiming, { kind: 'ambiguous' });
      await work();
      server.terminate(caller.id);
    },
    retag: async (stream) => {
      replace(stream, (slice) => ({ ...slice, digest: slice.digest + 1 }));
    },
    age: async (stream, days) => {
      const stage = store.stages.get(stream);
      assert(stage, 'the stream is staged');
      const day = dayOf(systemClock.wallMs() - days * 24 * 60 * 60 * 1000);
      store.stages.set(stream, { ...stage, days: [day, ...stage.days] });
      replace(stream, (slice) => ({ ...slice, day }));
    },
  };
}

for (const version of ['18', '15'] as const) {
  if (!hasPostgres(version)) continue;
  contract(`PostgreSQL ${version}`, () => postgresGround(version, 'direct'));
  stagedContract(`PostgreSQL ${version}`, () => postgresGround(version, 'staged'));
}
contract('MariaDB 10.11', () => mariadbGround('MariaDB 10.11'));
stagedContract('MariaDB 10.11', () => mariadbGround('MariaDB 10.11', { route: 'staged' }));
contract('MariaDB 10.11 without LOAD DATA', () =>
  mariadbGround('MariaDB 10.11', { settings: ['--local-infile=0'] }),
);
contract('SQLite', sqliteGround);
contract('the simulated target', () => simulatedGround('direct'));
stagedContract('the simulated target', () => simulatedGround('staged'));

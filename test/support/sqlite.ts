// An SQLite file of its own for a test, and a second connection to it that is not Holdfast's.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { TestContext } from 'node:test';
import { systemClock } from '../../src/clock.ts';
import { sqliteTarget } from '../../src/target/sqlite/target.ts';
import type { Ground, Shape } from './target-stream.ts';

export interface SqliteGround extends Ground {
  readonly path: string;
  readonly database: DatabaseSync;
}

export async function sqliteGround(): Promise<SqliteGround> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-sqlite-'));
  const path = join(folder, 'test.db');
  const database = new DatabaseSync(path);
  const target = sqliteTarget(`sqlite:${path}`, { clock: systemClock });
  const create = (table: string, shape: Shape) =>
    database.exec(`CREATE TABLE ${table} (
      id bigint NOT NULL ${shape === 'keyed' ? 'PRIMARY KEY' : ''},
      amount bigint NOT NULL DEFAULT 1, note text DEFAULT 'none' CHECK (note <> 'bad'),
      version bigint NOT NULL DEFAULT 0)`);
  const recreate = (table: string, shape: Shape) => {
    database.exec(`ALTER TABLE ${table} RENAME TO ${table}_before`);
    create(table, shape);
    database.exec(`INSERT INTO ${table} SELECT * FROM ${table}_before;
      DROP TABLE ${table}_before`);
  };
  return {
    path,
    database,
    target,
    create: async (table, shape) => create(table, shape),
    rows: async (table) => {
      const text = ['id', 'amount', 'note', 'version'].map((c) => `CAST(${c} AS TEXT) AS ${c}`);
      const sql = `SELECT ${text.join()} FROM ${table} t ORDER BY t.id, t.amount, t.note`;
      const rows = database.prepare(sql).all();
      return rows.map((row) => ({ ...row })) as { [column: string]: string | null }[];
    },
    remove: async (table, id) => database.exec(`DELETE FROM ${table} WHERE id = ${id}`),
    widen: async (table, column) =>
      database.exec(`ALTER TABLE ${table} ADD COLUMN ${column} bigint`),
    dropKey: async (table) => recreate(table, 'loose'),
    makeKey: async (table) => recreate(table, 'keyed'),
    drop: async (table) => database.exec(`DROP TABLE ${table}`),
    close: async () => {
      await target.close();
      database.close();
      await rm(folder, { recursive: true });
    },
  };
}

/** Closed, and its folder gone, when the test ends. */
export async function newGround(t: TestContext, sql: string): Promise<SqliteGround> {
  const ground = await sqliteGround();
  t.after(() => ground.close());
  ground.database.exec(sql);
  return ground;
}

export const all = (ground: SqliteGround, sql: string) =>
  ground.database
    .prepare(sql)
    .all()
    .map((row) => ({ ...row }));

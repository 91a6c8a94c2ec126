// Holdfast's own tables: from the package's SQL files into the database, once, whoever comes first.
import { readdir, readFile } from 'node:fs/promises';
import { areReady } from '../own-tables.ts';
import type { Connection } from './connection.ts';

// The same place from src/target/postgres and from dist/target/postgres.
const folder = new URL('../../../sql/postgres/', import.meta.url);

/** What 5-version.sql writes into holdfast_version. */
const version = 5;

/** Any number that all processes share; the letters of "holdfast". */
const lock = 0x686f_6c64;

/** All of the SQL that Holdfast needs in a database: what `holdfast init --sql` prints. */
export async function schemaSql(): Promise<string> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort();
  const texts = await Promise.all(files.map((file) => readFile(new URL(file, folder), 'utf8')));
  return texts.join('\n');
}

/** Resolves when the tables are there, in this version; creates them where `create`. */
export async function prepare(connection: Connection, create: boolean): Promise<void> {
  if (areReady(await versionOf(connection), { version, create })) return;
  const sql = await schemaSql();
  await connection.transaction(async () => {
    // Two processes at once: CREATE … IF NOT EXISTS alone fails for the slower of them.
    await connection.script(`BEGIN; SELECT pg_advisory_xact_lock(${lock}); ${sql}`);
    await connection.commit();
  });
}

/** 0: there are none. */
async function versionOf(connection: Connection): Promise<number> {
  const [found] = await connection.query(`SELECT to_regclass('holdfast_version') AS relation`);
  if (!found?.['relation']) return 0;
  const [row] = await connection.query('SELECT max(version) AS newest FROM holdfast_version');
  return Number(row?.['newest'] ?? 0);
}

// Holdfast's own tables: from the package's SQL files into the database, once, whoever comes first.
import { readdir, readFile } from 'node:fs/promises';
import { areReady } from '../own-tables.ts';
import type { Connection } from './connection.ts';

// The same place from src/target/mysql and from dist/target/mysql.
const folder = new URL('../../../sql/mysql/', import.meta.url);

/** What 4-version.sql writes into holdfast_version. */
const version = 4;

/** All of the SQL that Holdfast needs in a database: what `holdfast init --sql` prints. */
export async function schemaSql(): Promise<string> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.sql')).sort();
  const texts = await Promise.all(files.map((file) => readFile(new URL(file, folder), 'utf8')));
  return texts.join('\n');
}

/**
 * Resolves when the tables are there, in this version; creates them where `create`. Each statement
 * of the file may be run again, and the version is written last: two processes at once, or a crash
 * in the middle, do no harm.
 */
export async function prepare(connection: Connection, create: boolean): Promise<void> {
  if (areReady(await versionOf(connection), { version, create })) return;
  await connection.script((await schemaSql()).trim().replace(/;$/, ''));
}

/** 0: there are none, or not all. */
async function versionOf(connection: Connection): Promise<number> {
  const [found] = await connection.query(
    `SELECT COUNT(*) AS tables FROM information_schema.tables
     WHERE table_schema = DATABASE() AND table_name = 'holdfast_version'`,
  );
  if (Number(found?.['tables']) === 0) return 0;
  const [row] = await connection.query('SELECT MAX(version) AS newest FROM holdfast_version');
  return Number(row?.['newest'] ?? 0);
}

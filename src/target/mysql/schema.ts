// Holdfast's own tables: from the package's SQL files into the database, once, whoever comes first.
import { readdir, readFile } from 'node:fs/promises';
import { TargetError } from '../target.ts';
import type { Connection } from './connection.ts';

// The same place from src/target/mysql and from dist/target/mysql.
const folder = new URL('../../../sql/mysql/', import.meta.url);

/** What 3-lost.sql writes into holdfast_version. */
const version = 3;

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
  if (await isPrepared(connection)) return;
  if (!create) {
    const message = 'Holdfast’s own tables are missing; run what `holdfast init --sql` prints.';
    throw new TargetError('hold', 'ER_NO_SUCH_TABLE', message);
  }
  await connection.script((await schemaSql()).trim().replace(/;$/, ''));
}

async function isPrepared(connection: Connection): Promise<boolean> {
  const [found] = await connection.query(
    `SELECT COUNT(*) AS tables FROM information_schema.tables
     WHERE table_schema = DATABASE() AND table_name = 'holdfast_version'`,
  );
  if (Number(found?.['tables']) === 0) return false;
  const [row] = await connection.query('SELECT MAX(version) AS newest FROM holdfast_version');
  const newest = Number(row?.['newest'] ?? 0);
  if (newest <= version) return newest === version;
  const message = `Holdfast’s tables are of version ${newest}; this program knows ${version}.`;
  throw new TargetError('hold', '', message);
}

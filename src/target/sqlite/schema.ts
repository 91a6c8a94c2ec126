// Holdfast's own tables: from the package's SQL files into the database, once, whoever comes first.
import { readdirSync, readFileSync } from 'node:fs';
import { areReady } from '../own-tables.ts';
import type { Connection } from './connection.ts';

// The same place from src/target/sqlite and from dist/target/sqlite.
const folder = new URL('../../../sql/sqlite/', import.meta.url);

/** What 1-tables.sql writes into holdfast_version. */
const version = 2;

/** All of the SQL that Holdfast needs in a database: what `holdfast init --sql` prints. */
export function schemaSql(): string {
  const files = readdirSync(folder).filter((file) => file.endsWith('.sql'));
  return files
    .sort()
    .map((file) => readFileSync(new URL(file, folder), 'utf8'))
    .join('\n');
}

/** The tables are there, in this version, when it returns; creates them where `create`. */
export function prepare(connection: Connection, create: boolean): void {
  const needed = { version, create, remedy: 'Start it once with `createTables: true`.' };
  if (areReady(versionOf(connection), needed)) return;
  connection.transaction(() => {
    const found = versionOf(connection);
    if (areReady(found, needed)) return;
    if (found > 0) bringUp(connection);
    else connection.exec(schemaSql());
  });
}

/**
 * Version 1 had CHECKs that lost records do not meet, and SQLite makes such a table anew. Renaming
 * is the older kind, which neither rewrites the views of others nor wants all of them to be sound.
 */
function bringUp(connection: Connection): void {
  const tables = ['holdfast_lanes', 'holdfast_ledger'];
  connection.exec('PRAGMA legacy_alter_table=ON');
  for (const name of tables) connection.exec(`ALTER TABLE ${name} RENAME TO ${name}_1`);
  connection.exec(schemaSql());
  for (const name of tables) {
    connection.exec(`INSERT INTO ${name} SELECT * FROM ${name}_1; DROP TABLE ${name}_1`);
  }
  connection.exec(`UPDATE holdfast_version SET version = ${version}`);
}

function hasVersions(connection: Connection): boolean {
  const rows = connection.query(`SELECT 1 FROM sqlite_schema WHERE name = 'holdfast_version'`);
  return rows.length > 0;
}

/** 0: there are none. */
function versionOf(connection: Connection): number {
  if (!hasVersions(connection)) return 0;
  const [row] = connection.query('SELECT max(version) AS newest FROM holdfast_version');
  return Number(row?.['newest'] ?? 0);
}

/** Tells this file from another one of the same name; '' before `prepare` made our tables. */
export function identityOf(connection: Connection): string {
  if (!hasVersions(connection)) return '';
  const [row] = connection.query('SELECT identity FROM holdfast_version ORDER BY version LIMIT 1');
  const identity = row?.['identity'];
  return typeof identity === 'string' ? identity : '';
}

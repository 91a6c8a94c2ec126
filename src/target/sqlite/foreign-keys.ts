// SQLite checks deferred foreign keys at COMMIT, has no way to check them earlier, and does not say
// whose row is at fault. So before COMMIT the rows of a batch look for their parents themselves.
import type { Batch } from '../../merge/batch.ts';
import { rowEnd } from '../../merge/batch.ts';
import type { Connection, Row } from './connection.ts';
import type { BatchRows } from './rows.ts';
import { bareName, quoted } from './text.ts';

/** Yields a row where the values at `places` of a tuple name a parent that is not there. */
interface Check {
  readonly sql: string;
  readonly places: readonly number[];
}

/** The merged rows of the batch that a deferred foreign key would refuse. */
export function findOrphans(
  connection: Connection,
  batch: Batch,
  { rows, ends }: { readonly rows: BatchRows; readonly ends: Uint8Array },
): number[] {
  const table = bareName(batch.table.name);
  if (!hasDeferred(connection, table)) return [];
  const checks = batch.columnSets.map((set) => {
    const names = set.map((place) => batch.journaled.columns[place]?.name ?? '');
    return foreignKeys(connection, table).flatMap((key) => checkOf(connection, key, names));
  });
  const orphans: number[] = [];
  for (let row = 0; row < batch.count; row++) {
    if (ends[row] !== rowEnd.merged) continue;
    const values = rows.values(row);
    const isOrphan = (checks[batch.sets[row] ?? 0] ?? []).some(
      ({ sql, places }) =>
        connection.query(sql, ...places.map((place) => values[place] ?? null)).length > 0,
    );
    if (isOrphan) orphans.push(row);
  }
  return orphans;
}

function hasDeferred(connection: Connection, table: string): boolean {
  const [row] = connection.query(
    `SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ? COLLATE NOCASE`,
    table,
  );
  return /\bdeferred\b/i.test(String(row?.['sql']));
}

/** The foreign keys of a table; of each the rows of PRAGMA foreign_key_list, column by column. */
function foreignKeys(connection: Connection, table: string): Row[][] {
  const byId = new Map<unknown, Row[]>();
  for (const row of connection.query(`PRAGMA main.foreign_key_list(${quoted(table)})`)) {
    const known = byId.get(row['id']);
    if (known) known.push(row);
    else byId.set(row['id'], [row]);
  }
  return [...byId.values()];
}

function checkOf(connection: Connection, key: Row[], names: readonly string[]): Check[] {
  const places = key.map((row) => names.indexOf(String(row['from'])));
  // A column that the rows do not provide is null, as a rule, and then there is nothing to check.
  if (places.includes(-1)) return [];
  const parent = quoted(String(key[0]?.['table']));
  const to = key.every((row) => row['to'] === null)
    ? connection
        .query(`PRAGMA main.table_xinfo(${parent})`)
        .filter((row) => Number(row['pk']) > 0)
        .sort((a, b) => Number(a['pk']) - Number(b['pk']))
        .map((row) => row['name'])
    : key.map((row) => row['to']);
  const given = places.map((_, i) => `?${i + 1} IS NOT NULL`).join(' AND ');
  const found = to.map((name, i) => `${quoted(String(name))} = ?${i + 1}`).join(' AND ');
  const sql = `SELECT 1 WHERE ${given} AND NOT EXISTS (SELECT 1 FROM ${parent} WHERE ${found})`;
  return [{ sql, places }];
}

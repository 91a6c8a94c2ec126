// The statements that find out what the table holds, and that write what is to be written. Text
// only.
import type { OnConflict } from '../../merge/batch.ts';
import { type Part, staged, winnersTable } from './stage.ts';
import { integers, list, name, tableName } from './text.ts';

/** Rows of a part: all, or some. */
export type Pick = 'all' | readonly number[];

const picked = (part: Part, pick: Pick, prefix = ''): string =>
  `${prefix}wave = ${part.wave}${pick === 'all' ? '' : ` AND ${prefix}ord IN ${integers(pick)}`}`;

const values = (part: Part): string => list(part.fields, 'r.');

/** Rows that stand for their keys: those in the winners' table, or all rows of the part. */
export interface Chosen {
  readonly isAll: boolean;
  /** Those of them that are not meant: their keys are in the table. */
  readonly except: readonly number[];
  /** Only these of them, in the order of their sequence; else all, in the order of their keys. */
  readonly pick?: readonly number[];
}

const source = (part: Part, { isAll }: Chosen): string =>
  isAll ? `${part.rows} r` : `${winnersTable} w STRAIGHT_JOIN ${part.rows} r ON r.ord = w.ord`;

const keysOf = (part: Part, { isAll }: Chosen): string[] =>
  part.key.map((column, i) => (isAll ? `r.${staged(part, column)}` : `w.k${i}`));

const only = ({ isAll, except, pick }: Chosen): string => {
  if (pick) return ` AND ${isAll ? 'r' : 'w'}.ord IN ${integers(pick)}`;
  return except.length === 0 ? '' : ` AND r.ord NOT IN ${integers(except)}`;
};

/** The chosen rows go in. */
export function insertRows(table: string, part: Part, chosen: Chosen): string {
  const byKey = chosen.isAll ? 'r.ord' : keysOf(part, chosen).join();
  return `INSERT INTO ${tableName(table)} (${list(part.columns)}) SELECT ${values(part)}
    FROM ${source(part, chosen)} WHERE r.wave = ${part.wave}${only(chosen)}
    ORDER BY ${chosen.pick ? 'r.seq' : byKey}`;
}

/**
 * Leaves in the winners' table one row of each key: the first, the last, or that with the highest
 * version. The server compares the keys, as the table compares them. The last answer has `count`.
 */
export function chooseWinners(part: Part, pick: Pick, onConflict: OnConflict): string {
  const keys = part.key.map((column) => staged(part, column)).join();
  const own = part.key.map((_, i) => `k${i}`).join();
  return `DELETE FROM ${winnersTable}; INSERT INTO ${winnersTable} (ord, ${own})
    SELECT ord, ${keys} FROM ${part.rows} WHERE ${picked(part, pick)}
    ORDER BY ${precedence(part, onConflict)}
    ON DUPLICATE KEY UPDATE k0 = ${winnersTable}.k0;
    SELECT COUNT(*) AS count FROM ${winnersTable}`;
}

function precedence(part: Part, onConflict: OnConflict): string {
  if (onConflict === 'update') return 'seq DESC';
  const isNewest = typeof onConflict === 'object' && part.columns.includes(onConflict.newest);
  return isNewest ? `${staged(part, onConflict.newest)} DESC, seq` : 'seq';
}

export const winners = `SELECT ord FROM ${winnersTable}`;

const sameKey = (part: Part, prefix: string, keys: readonly string[]): string =>
  part.key.map((column, i) => `${prefix}${name(column)} = ${keys[i]}`).join(' AND ');

/** What the table holds under a row's key, compared on the row's columns, bytewise (P7). */
export type Verdict = 'equal' | 'different' | 'older' | 'newer';

/**
 * `ord` and Verdict of the chosen rows whose key is in the table, in the order of the key. Locks
 * the table's rows: what others commit until the end cannot change it, and what they have committed
 * is seen.
 */
export function judgeChosen(
  table: string,
  part: Part,
  { chosen, version }: { readonly chosen: Chosen; readonly version: string | undefined },
): string {
  const from = chosen.isAll
    ? `${part.rows} r FORCE INDEX (PRIMARY)`
    : `${winnersTable} w FORCE INDEX (PRIMARY) STRAIGHT_JOIN ${part.rows} r ON r.ord = w.ord`;
  const keys = keysOf(part, chosen);
  return `SELECT r.ord AS ord, ${verdictOf(part, version)} AS verdict
    FROM ${from} STRAIGHT_JOIN ${tableName(table)} t ON ${sameKey(part, 't.', keys)}
    WHERE r.wave = ${part.wave} ORDER BY ${chosen.isAll ? 'r.ord' : keys.join()} FOR UPDATE`;
}

/** The same of the given rows of a part. */
export function judgeRows(
  table: string,
  part: Part,
  { ords, version }: { readonly ords: readonly number[]; readonly version: string | undefined },
): string {
  const keys = part.key.map((column) => `r.${staged(part, column)}`);
  return `SELECT r.ord AS ord, ${verdictOf(part, version)} AS verdict
    FROM ${part.rows} r STRAIGHT_JOIN ${tableName(table)} t ON ${sameKey(part, 't.', keys)}
    WHERE ${picked(part, ords, 'r.')} ORDER BY r.ord FOR UPDATE`;
}

/** `ord` and Verdict of all rows of the part whose key is in the table. Locks nothing. */
export function judgeAll(table: string, part: Part): string {
  const keys = part.key.map((column) => `r.${staged(part, column)}`);
  return `SELECT r.ord AS ord, ${verdictOf(part, undefined)} AS verdict
    FROM ${part.rows} r STRAIGHT_JOIN ${tableName(table)} t ON ${sameKey(part, 't.', keys)}
    WHERE ${picked(part, 'all', 'r.')}`;
}

/** As bytes: a collation takes unequal texts for equal ones, and JSON 1.0 for 1. */
function same(part: Part, place: number): string {
  const [own, there] = [`r.${part.fields[place]}`, `t.${name(part.columns[place] ?? '')}`];
  const sort = part.sorts[place];
  if (sort === 'plain') return `${own} <=> ${there}`;
  const asBytes = (value: string): string =>
    sort === 'json' ? `CAST(CAST(${value} AS CHAR) AS BINARY)` : `CAST(${value} AS BINARY)`;
  return `${asBytes(own)} <=> ${asBytes(there)}`;
}

function verdictOf(part: Part, version: string | undefined): string {
  let versions = '';
  if (version !== undefined) {
    const [own, there] = [`r.${staged(part, version)}`, `t.${name(version)}`];
    versions = `WHEN ${own} < ${there} THEN 'older' WHEN ${own} > ${there} THEN 'newer'`;
  }
  const all = part.columns.map((_, i) => same(part, i));
  return `CASE ${versions} WHEN ${all.join(' AND ')} THEN 'equal' ELSE 'different' END`;
}

/** How many of the chosen rows are known again by their key. */
export const countChosen = (table: string, part: Part, chosen: Chosen): string =>
  `SELECT COUNT(*) AS count FROM ${source(part, chosen)} STRAIGHT_JOIN ${tableName(table)} t
     ON ${sameKey(part, 't.', keysOf(part, chosen))} WHERE r.wave = ${part.wave}${only(chosen)}`;

/** Rows replace those of their key. A key is written too where another text is the same key. */
export function updateRows(table: string, part: Part, ords: readonly number[]): string {
  const keys = part.key.map((column) => `r.${staged(part, column)}`);
  const changed = part.columns.flatMap((column, i) =>
    part.key.includes(column) && part.sorts[i] === 'plain'
      ? []
      : [`t.${name(column)} = r.${part.fields[i]}`],
  );
  return `UPDATE ${part.rows} r STRAIGHT_JOIN ${tableName(table)} t
    ON ${sameKey(part, 't.', keys)} SET ${changed.join()} WHERE ${picked(part, ords, 'r.')}`;
}

// Rows on their way into a table, in temporary tables, one pair for each column set: a raw one of
// types that no row can fail in, then a typed one with the table's own types, modifiers and
// collations. The step between them is where a row that does not fit (any more) is refused, and
// only there. Both empty themselves at the end of the transaction.
import { createHash } from 'node:crypto';
import type { Column, ColumnType, Table } from '../../accept/columns.ts';
import type { Batch } from '../../merge/batch.ts';
import { isolate } from '../../merge/isolate.ts';
import { keyPlaces, sequenceOrder, waves } from '../../merge/waves.ts';
import { TargetError } from '../target.ts';
import type { Connection } from './connection.ts';
import { numberPrefix, prefixedRows } from './copy.ts';
import { isRounded } from './rounding.ts';
import type { Refusal, Savepoint } from './savepoint.ts';
import { integers, name, tableName } from './text.ts';

/** A row is known in the temporary tables by `seq`: its rank in sequence order, from 0. */
export interface Temporary {
  /** The table that they are for. */
  readonly table: Table;
  readonly count: number;
  /** By wave. */
  readonly parts: readonly Part[];
}

/** What a batch's rows are there: `bySequence[seq]` is the row of the batch. */
export interface BroughtBatch extends Temporary {
  readonly bySequence: Int32Array;
}

/** The rows of one column set and wave. */
export interface Part {
  readonly wave: number;
  /** The table's columns that the rows provide; the temporary tables have them as c0, c1 … */
  readonly columns: readonly string[];
  /** The key's columns, where the rows provide them all. */
  readonly key: readonly string[];
  /** Of the key's columns those whose equal values may differ in their bytes. */
  readonly looseKey: readonly string[];
  readonly raw: string;
  readonly typed: string;
  readonly types: readonly ColumnType[];
  /** Whether the raw table has texts as text; else as bytes, which any encoding can hold. */
  readonly isText: boolean;
  /** Ascending. */
  seqs: readonly number[];
}

/** A part's column in the temporary tables. */
export const fieldOf = (part: Part, column: string): string => `c${part.columns.indexOf(column)}`;

/** Opens the transaction by `opening` and sends all rows by COPY. Nothing is refused yet. */
export async function bring(
  connection: Connection,
  batch: Batch,
  opening: string,
): Promise<BroughtBatch> {
  const bySequence = sequenceOrder(batch);
  const wave = waves(batch, bySequence);
  const numbers = [ranks(batch.order), ranks(bySequence), wave];
  const parts: Part[] = [];
  let before = opening === '' ? '' : `${opening};`;
  for (const [set] of batch.columnSets.entries()) {
    const rows = bySequence.filter((row) => batch.sets[row] === set);
    if (rows.length === 0) continue;
    const [first, ...others] = partsOfBatch(batch, set, { rows, wave, seq: numbers[1] ?? wave });
    if (!first) continue;
    const { raw, typed } = createTables(batch.table, first);
    const columns = ['ord', 'seq', 'wave', ...first.columns.map((_, i) => `c${i}`)].join();
    const copy = `COPY ${first.raw} (${columns}) FROM STDIN (FORMAT binary)`;
    const text = `${before} ${raw}; ${typed}; ${copy}`;
    before = '';
    const prefix = numberPrefix(numbers);
    const { chunks } = connection;
    await connection.copyIn(text, prefixedRows(batch, rows, { prefix, chunks }));
    parts.push(first, ...others);
  }
  if (before !== '') await connection.script(before);
  parts.sort((a, b) => a.wave - b.wave);
  return { table: batch.table, count: batch.count, bySequence, parts };
}

function ranks(order: Int32Array): Int32Array {
  const rank = new Int32Array(order.length);
  order.forEach((row, i) => {
    rank[row] = i;
  });
  return rank;
}

function partsOfBatch(
  batch: Batch,
  set: number,
  of: { readonly rows: Int32Array; readonly wave: Int32Array; readonly seq: Int32Array },
): Part[] {
  const columns = (batch.columnSets[set] ?? []).flatMap(
    (place) => batch.journaled.columns[place] ?? [],
  );
  const byWave = new Map<number, number[]>();
  for (const row of of.rows) {
    const wave = of.wave[row] ?? 0;
    const seqs = byWave.get(wave) ?? [];
    seqs.push(of.seq[row] ?? 0);
    byWave.set(wave, seqs);
  }
  const key = keyPlaces(batch, set) ? batch.rules.key : [];
  return partsOf(batch.table, { columns, key, byWave, isText: false });
}

/** Throws 'hold' where the table has lost the column, or would change its values without a word. */
function checkColumn(table: Table, was: Column): void {
  const now = table.columns.find(({ name: own }) => own === was.name);
  if (!now) {
    const message = `Column ${was.name} of journaled rows is no longer in ${table.name}.`;
    throw new TargetError('hold', '42703', message);
  }
  if (was.sqlType === now.sqlType || !isRounded(was.type, now.type)) return;
  const message = `Table ${table.name}: column ${was.name} of the rows was ${was.sqlType} and is
    ${now.sqlType} now, which would round them.`;
  throw new TargetError('hold', '', message.replaceAll(/\s+/g, ' '));
}

/** The parts of one column set; `byWave` has the seqs of each wave. Throws as checkColumn does. */
export function partsOf(
  table: Table,
  of: {
    readonly columns: readonly Column[];
    readonly key: readonly string[];
    readonly byWave: ReadonlyMap<number, readonly number[]>;
    readonly isText: boolean;
  },
): Part[] {
  const { columns, key, byWave, isText } = of;
  for (const column of columns) checkColumn(table, column);
  const types = columns.map((column) => column.type);
  const names = columns.map((column) => column.name);
  const raws = types.map((type) => rawType(type, isText));
  const looseKey = key.filter(
    (column) => table.columns.find((one) => one.name === column)?.bytewiseEqual !== true,
  );
  const marks = [table.name, table.fingerprint, ...names, ...raws];
  const digest = createHash('sha256').update(JSON.stringify(marks)).digest('hex').slice(0, 24);
  return [...byWave].map(([wave, seqs]) => ({
    wave,
    columns: names,
    key,
    looseKey,
    raw: `pg_temp.holdfast_raw_${digest}`,
    typed: `pg_temp.holdfast_rows_${digest}`,
    types,
    isText,
    seqs,
  }));
}

/**
 * A type that every value of the row format fits into as it is. Texts are text where `isText` (the
 * database's encoding must be UTF8), else bytes until they are cast.
 */
export function rawType(type: ColumnType, isText: boolean): string {
  switch (type.kind) {
    case 'int':
      return `int${type.bytes}`;
    case 'float':
      return `float${type.bytes}`;
    case 'text':
    case 'json':
    case 'jsonb':
    case 'enum':
    case 'cast':
      return isText ? 'text' : 'bytea';
    default:
      return type.kind;
  }
}

/** The statements that make a part's tables where they are not there yet. */
export function createTables(
  table: Table,
  part: Part,
): { readonly raw: string; readonly typed: string } {
  const raws = part.types.map((type, i) => `, c${i} ${rawType(type, part.isText)}`);
  const own = part.columns.map((column, i) => `, t.${name(column)} AS c${i}`);
  return {
    raw: `CREATE TEMP TABLE IF NOT EXISTS ${part.raw.replace('pg_temp.', '')}
      (ord int, seq int, wave int${raws.join('')}) ON COMMIT DELETE ROWS`,
    typed: `CREATE TEMP TABLE IF NOT EXISTS ${part.typed.replace('pg_temp.', '')}
      ON COMMIT DELETE ROWS AS SELECT 0 AS ord, 0 AS seq, 0 AS wave${own.join('')}
      FROM ${tableName(table.name)} t WITH NO DATA`,
  };
}

/** The raw value as the server would read it from text, or as it is. */
export function readable(type: ColumnType, column: string, isText: boolean): string {
  // The first byte of a jsonb is its version.
  const value = type.kind === 'jsonb' ? `substring(${column} FROM 2)` : column;
  const isBytes = rawType(type, isText) === 'bytea' && type.kind !== 'bytea';
  return isBytes ? `convert_from(${value}, 'UTF8')` : value;
}

/**
 * Fills the typed tables from the raw ones. A row that cannot be cast goes to `refused` and out of
 * its part. A type to which there is no cast at all holds the stream: no row is at fault.
 */
export async function convert(
  connection: Connection,
  { table, parts }: Temporary,
  {
    savepoint,
    refused,
  }: {
    readonly savepoint: Savepoint;
    readonly refused: (seq: number, refusal: Refusal) => void;
  },
): Promise<void> {
  if (parts.length === 0) return;
  const casts = await castTypes(connection, table.name);
  for (const part of parts) {
    // The cast names the type without its modifier, and the assignment applies that: an explicit
    // cast to varchar(3) would cut a longer text without a word.
    const values = part.types.map((type, i) => {
      const cast = casts.get(part.columns[i] ?? '');
      return `, ${readable(type, `c${i}`, part.isText)}::${cast}`;
    });
    const insert = `INSERT INTO ${part.typed} SELECT ord, seq, wave${values.join('')}
      FROM ${part.raw} WHERE wave = ${part.wave} AND`;
    const { seqs } = part;
    const out = new Set<number>();
    const attempt = async (first: number, last: number): Promise<Refusal | undefined> => {
      const made = await savepoint.attempt(`${insert} ${between(seqs, first, last)}`);
      if (!('refusal' in made)) return undefined;
      if (last - first > 100) savepoint.prepare(seqIndex(part.raw));
      return made.refusal;
    };
    await isolate(seqs.length, attempt, (place, refusal) => {
      const seq = seqs[place] ?? 0;
      out.add(seq);
      refused(seq, refusal);
    });
    if (out.size > 0) part.seqs = seqs.filter((seq) => !out.has(seq));
  }
  await savepoint.end();
}

/**
 * For statements that read staging tables: by their index, since fresh tables have no statistics,
 * and a scan costs all that waits.
 */
export const byIndexOnly =
  'SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off';

/** Rows first … last of a part: it holds no others between them. */
export const between = (seqs: readonly number[], first: number, last: number): string =>
  `seq BETWEEN ${seqs[first] ?? 0} AND ${seqs[last] ?? -1}`;

/** Isolating one row in thousands reads the table often; an index is worth it only then. */
export const seqIndex = (table: string): string =>
  `CREATE INDEX IF NOT EXISTS ${table.replace('pg_temp.', '')}_seq ON ${table} (seq)`;

/**
 * Per column the type to cast to: its own, a domain's base type, in both cases without modifier.
 */
export async function castTypes(
  connection: Connection,
  table: string,
): Promise<Map<string, string>> {
  const rows = await connection.query(
    `WITH RECURSIVE bases (name, type) AS (
       SELECT attname, atttypid FROM pg_attribute
       WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped
       UNION ALL
       SELECT b.name, t.typbasetype FROM bases b JOIN pg_type t ON t.oid = b.type
       WHERE t.typtype = 'd')
     SELECT b.name, format_type(b.type, -1) AS type
     FROM bases b JOIN pg_type t ON t.oid = b.type WHERE t.typtype <> 'd'`,
    [tableName(table)],
  );
  return new Map(rows.map((row) => [String(row['name']), String(row['type'])]));
}

export const seqArray = (seqs: readonly number[]): string => `seq = ANY (${integers(seqs)}::int[])`;

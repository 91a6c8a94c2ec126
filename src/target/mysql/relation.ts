// The stream's table as a batch meets it: which column takes which field, and by which statement.
// Read once for each version of the table and kept with the session.
import { type Column, isViaFloat, type Table } from '../../accept/columns.ts';
import type { ColumnSet } from '../../accept/row-buffer.ts';
import type { Batch } from '../../merge/batch.ts';
import { TargetError } from '../target.ts';
import type { Connection } from './connection.ts';
import { readColumns } from './describe.ts';
import type { Sink } from './rows.ts';
import { tableName } from './text.ts';
import type { ColumnRow } from './types.ts';

/** Versions of tables that a session remembers. */
const knownMax = 100;

export type Relation = ReadonlyMap<string, ColumnRow>;

export class Relations {
  readonly #known = new Map<string, Relation>();

  async of(connection: Connection, table: Table): Promise<Relation> {
    const mark = `${table.fingerprint} ${table.name}`;
    const known = this.#known.get(mark);
    if (known) return known;
    const rows = await readColumns(connection, table);
    const relation = new Map(rows.map((row) => [row.name, row]));
    if (this.#known.size === knownMax) this.#known.clear();
    this.#known.set(mark, relation);
    return relation;
  }
}

/**
 * Character sets that take the bytes of UTF-8 as they are, or refuse them. Not ascii: it takes any
 * bytes that come as binary.
 */
const utf8Like = new Set(['utf8mb4', 'utf8mb3', 'utf8', 'binary']);

/** Types that would take binary bytes for a form of their own. */
const textTypes = new Set(['json', 'uuid', 'inet4', 'inet6']);

const isConverted = (row: ColumnRow): boolean =>
  textTypes.has(row.base) || (row.charset !== null && !utf8Like.has(row.charset));

/** The fields of a column set, and what takes them. Throws 'hold': no row is to blame. */
function fieldsOf(batch: Batch, set: ColumnSet): Sink['columns'] {
  return set.flatMap((place) => {
    const column = batch.journaled.columns[place];
    return column ? [{ column, now: columnNow(batch.table, column) }] : [];
  });
}

/** What takes the fields of the set in `table`. */
export function sinkOf(batch: Batch, set: ColumnSet, relation: Relation): Sink {
  const columns = fieldsOf(batch, set);
  const converted = columns.flatMap(({ now }) => {
    const row = relation.get(now.name);
    return row && isConverted(row) ? [now.name] : [];
  });
  return { table: tableName(batch.table.name), columns, lead: [], converted: new Set(converted) };
}

/** Kinds whose text another kind reads as the same value, or refuses (P5). */
const widened: { readonly [kind in Column['type']['kind']]?: readonly string[] } = {
  bool: ['int', 'numeric'],
  int: ['numeric'],
  date: ['timestamp'],
  text: ['json', 'cast'],
  json: ['cast'],
  enum: ['cast'],
};

/** What takes a field of the journal in the table. Throws 'hold': no row is to blame. */
export function columnNow(table: Table, was: Column): Column {
  const now = table.columns.find(({ name }) => name === was.name);
  if (!now) throw hold(table, `column ${was.name} of the rows is gone`);
  if (!now.writable) throw hold(table, `column ${was.name} of the rows is generated now`);
  if (isFilledForNull(was, now)) {
    throw hold(table, `column ${was.name} was nullable and turns nulls into values now`);
  }
  const [from, to] = [was.type.kind, now.type.kind];
  const isWidened = widened[from]?.includes(to) === true && !isViaFloat(now.type);
  if (from === to ? isKept(was, now) : isWidened) return now;
  // Stored as text they stay what they were.
  if (from !== 'bytea' && to === 'text') return now;
  throw hold(table, `column ${was.name} of the rows was ${was.sqlType} and is ${now.sqlType} now`);
}

/**
 * Whether a null that was allowed becomes a value now: a TIMESTAMP takes the time of the statement
 * for it, an AUTO_INCREMENT the next number.
 */
const isFilledForNull = (was: Column, now: Column): boolean =>
  was.nullable &&
  !now.nullable &&
  (/^timestamp/.test(now.sqlType) || (now.type.kind === 'int' && now.hasDefault));

/** How exactly a numeric column keeps decimals. */
const exactness = (type: Column['type']): number => {
  if (type.kind !== 'numeric' || !isViaFloat(type)) return 2;
  return type.viaDouble === true ? 1 : 0;
};

/** Integers that are no numbers to the server: a 5 becomes the year 2005, bits are bytes. */
const ownIntegers = /^(bit|year)\b(?:\((\d+)\))?/;

/** False where the column would change a value of the same kind, and no error or warning tell. */
function isKept({ type: was, sqlType: wasSql }: Column, { type: now, sqlType }: Column): boolean {
  if (wasSql === sqlType) return true;
  const [, own, width] = ownIntegers.exec(sqlType) ?? [];
  if (own !== undefined) {
    const [, before, widthBefore] = ownIntegers.exec(wasSql) ?? [];
    return before === own && Number(widthBefore ?? 0) <= Number(width ?? 0);
  }
  if (was.kind === 'numeric' && now.kind === 'numeric' && isViaFloat(now)) {
    return exactness(was) <= exactness(now) && (was.scale ?? 0) <= (now.scale ?? 0);
  }
  if (was.kind === 'enum' && now.kind === 'enum') return haveSameNumbers(was.labels, now.labels);
  if (was.kind === 'float' && now.kind === 'float') return was.bytes <= now.bytes;
  if ('fraction' in was && 'fraction' in now) return was.fraction <= now.fraction;
  if (was.kind === 'bytea' && now.kind === 'bytea' && now.fixed === true) {
    return was.fixed === true && was.bytesMax === now.bytesMax;
  }
  return true;
}

/** A label that is gone and looks like a number is taken for the place of another label. */
const haveSameNumbers = (was: readonly string[], now: readonly string[]): boolean =>
  was.every((label) => now.includes(label) || !/^\s*\d/.test(label));

const hold = (table: Table, message: string): TargetError =>
  new TargetError('hold', '', `Table ${table.name}: ${message}.`);

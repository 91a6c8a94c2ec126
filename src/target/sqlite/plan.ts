// The statements that write and find the rows of one column set, made once and kept.
import type { Column, Table } from '../../accept/columns.ts';
import type { ColumnSet } from '../../accept/row-buffer.ts';
import type { MergeRules } from '../../merge/batch.ts';
import { checkKey } from '../key.ts';
import { TargetError } from '../target.ts';
import { compileTuple, type TupleReader } from './bind.ts';
import { bareName, quoted } from './text.ts';
import { affinityOf } from './types.ts';

/** Rows of one INSERT; more gain nothing. */
const rowsPerInsertMax = 50;
/** SQLITE_MAX_VARIABLE_NUMBER, as node:sqlite is built. */
const variablesMax = 32_766;

export interface Plan {
  /** How many columns the tuples have. */
  readonly width: number;
  readonly read: TupleReader;
  readonly rowsPerInsert: number;
  /** Plain INSERT of that many rows. */
  insert(rows: number): string;
  /** INSERT of one row by the stream's rules; changes no row where its key is there and stays. */
  readonly place: string;
  /**
   * By key: `same`, and where the rules say newest: `newer`, `tied`. Undefined without a whole
   * key.
   */
  readonly find: string | undefined;
  /** The set lacks the version column that the rules compare. */
  readonly lacksVersion: boolean;
}

interface Parts {
  readonly table: string;
  readonly columns: readonly Column[];
  readonly names: readonly string[];
  readonly rules: MergeRules;
}

export interface PlanOf {
  readonly journaled: Table;
  /** As it is now, and whether it is STRICT. */
  readonly table: Table;
  readonly isStrict: boolean;
  readonly rules: MergeRules;
}

/** Throws 'hold' where the table cannot take these rows any more: no row is to blame for that. */
export function makePlan({ journaled, table, isStrict, rules }: PlanOf, set: ColumnSet): Plan {
  const columns = set.flatMap((place) => journaled.columns[place] ?? []);
  const targets = columns.map((column) => ({ column, now: columnNow(table, column) }));
  checkKey({ table, rules });
  const parts: Parts = {
    table: quoted(bareName(table.name)),
    columns: targets.map(({ now }) => now),
    names: columns.map(({ name }) => quoted(name)),
    rules,
  };
  const version = typeof rules.onConflict === 'object' ? rules.onConflict.newest : undefined;
  const rowsPerInsert =
    set.length === 0 ? 1 : Math.min(rowsPerInsertMax, Math.floor(variablesMax / set.length));
  const inserts: string[] = [];
  return {
    width: set.length,
    read: compileTuple(
      targets.map(({ column, now }) => ({ column, affinity: affinityOf(now.sqlType, isStrict) })),
    ),
    rowsPerInsert,
    insert: (rows) => (inserts[rows] ??= insertSql(parts, rows)),
    place: insertSql(parts, 1) + conflictSql(parts),
    find: findSql(parts),
    lacksVersion: version !== undefined && !columns.some((column) => column.name === version),
  };
}

const hold = (table: Table, message: string): TargetError =>
  new TargetError('hold', '', `Table ${table.name}: ${message}.`);

/** Kinds that hold any value of another kind as it is. */
const widened: { readonly [kind in Column['type']['kind']]?: readonly string[] } = {
  bool: ['int', 'numeric'],
  int: ['numeric'],
};

function columnNow(table: Table, was: Column): Column {
  const now = table.columns.find(({ name }) => name === was.name);
  if (!now) throw hold(table, `column ${was.name} of the rows is gone`);
  if (!now.writable) throw hold(table, `column ${was.name} of the rows is generated now`);
  const [from, to] = [was.type.kind, now.type.kind];
  if (from === to || widened[from]?.includes(to)) return now;
  // Stored as text they stay what they were. A number's text under a number's affinity would not.
  if (from !== 'bytea' && to === 'text') return now;
  throw hold(table, `column ${was.name} of the rows was ${was.sqlType} and is ${now.sqlType} now`);
}

// OR ABORT: an ON CONFLICT REPLACE or IGNORE in the table's own definition must not decide here.
function insertSql({ table, names }: Parts, rows: number): string {
  if (names.length === 0) return `INSERT OR ABORT INTO ${table} DEFAULT VALUES`;
  const tuple = `(${names.map(() => '?').join(', ')})`;
  const tuples = new Array<string>(rows).fill(tuple).join(', ');
  return `INSERT OR ABORT INTO ${table} (${names.join(', ')}) VALUES ${tuples}`;
}

const hasWholeKey = ({ columns, rules }: Parts): boolean =>
  rules.key.length > 0 && rules.key.every((name) => columns.some((column) => column.name === name));

function conflictSql(parts: Parts): string {
  const { columns, rules } = parts;
  if (!hasWholeKey(parts)) return '';
  const on = ` ON CONFLICT (${rules.key.map(quoted).join(', ')}) DO`;
  if (rules.onConflict === 'dead-letter' || rules.onConflict === 'ignore') return `${on} NOTHING`;
  // A key column is written again only where its collation takes another text for the same key.
  const changed = columns
    .filter(({ name, bytewiseEqual }) => !rules.key.includes(name) || !bytewiseEqual)
    .map(({ name }) => quoted(name));
  if (changed.length === 0) return `${on} NOTHING`;
  const set = changed.map((name) => `${name} = excluded.${name}`).join(', ');
  if (rules.onConflict === 'update') {
    const differs = changed.map((name) => `${name} COLLATE BINARY IS NOT excluded.${name}`);
    return `${on} UPDATE SET ${set} WHERE ${differs.join(' OR ')}`;
  }
  const version = quoted(rules.onConflict.newest);
  return `${on} UPDATE SET ${set} WHERE excluded.${version} > ${version}`;
}

function findSql(parts: Parts): string | undefined {
  const { table, names, columns, rules } = parts;
  if (!hasWholeKey(parts)) return undefined;
  const parameter = (name: string): string =>
    `?${columns.findIndex((column) => column.name === name) + 1}`;
  const same = names.map((name, i) => `${name} COLLATE BINARY IS ?${i + 1}`).join(' AND ');
  const where = rules.key.map((name) => `${quoted(name)} = ${parameter(name)}`).join(' AND ');
  let versions = '';
  if (typeof rules.onConflict === 'object') {
    const { newest } = rules.onConflict;
    const isGiven = columns.some((column) => column.name === newest);
    const [name, value] = [quoted(newest), parameter(newest)];
    if (isGiven) versions = `, ${name} > ${value} AS newer, ${name} = ${value} AS tied`;
  }
  return `SELECT ${same} AS same${versions} FROM ${table} WHERE ${where}`;
}

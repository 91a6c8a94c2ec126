// Reads a table's columns and unique keys from the schema.
import { createHash } from 'node:crypto';
import type { Column, Table } from '../../accept/columns.ts';
import { TargetError } from '../target.ts';
import type { Connection } from './connection.ts';
import { bareName, quoted } from './text.ts';
import { type Affinity, affinityOf, columnType, isBytewise } from './types.ts';

interface ColumnRow {
  readonly name: string;
  readonly type: string;
  readonly notnull: number;
  readonly dflt_value: string | null;
  readonly pk: number;
  /** 0 ordinary, 1 hidden, 2 generated virtual, 3 generated stored. */
  readonly hidden: number;
}

interface IndexRow {
  readonly name: string;
  readonly unique: number;
  readonly origin: string;
  readonly partial: number;
}

interface Relation {
  /** As the schema spells it. */
  readonly name: string;
  readonly strict: number;
  readonly columns: readonly ColumnRow[];
  readonly indexes: readonly IndexRow[];
}

/** What the description says of a column beyond `Column`. */
interface Known {
  readonly column: Column;
  readonly affinity: Affinity;
  readonly collation: Collation;
}

/** Of SQLite's own; all others are functions of some other program. */
type Collation = 'BINARY' | 'NOCASE' | 'RTRIM';

/** Throws 'hold' where the table is missing, or is a view or virtual. */
export function describe(connection: Connection, table: string): Table {
  const relation = findRelation(connection, table);
  const known = relation.columns
    .filter((row) => row.hidden !== 1)
    .map((row) => toKnown(connection, relation, row));
  const indexes = relation.indexes.filter((row) => row.unique === 1);
  const collations = new Map(known.map(({ column, collation }) => [column.name, collation]));
  const verdicts = indexes.map((row) => judge(connection, row, { ...relation, collations }));
  const fit = verdicts.filter((verdict) => verdict.unfit === null);
  const alias = rowidAlias(relation);
  const keys = [...(alias ? [[alias]] : []), ...fit.map((verdict) => verdict.columns)];
  return {
    name: table,
    columns: known.map(({ column }) => column),
    keys,
    fingerprint: fingerprint(relation, keys),
    warnings: [
      ...verdicts
        .filter((verdict) => verdict.unfit !== null)
        .map(({ name, unfit }) => `Unique index ${name} cannot be a key: ${unfit}.`),
      ...known.flatMap((entry) => warnings(entry, keys)),
    ],
  };
}

function findRelation(connection: Connection, table: string): Relation {
  const [found] = connection.query(
    `SELECT name, type, strict FROM pragma_table_list
     WHERE schema = 'main' AND name = ? COLLATE NOCASE`,
    bareName(table),
  );
  if (!found) throw new TargetError('hold', 'SQLITE_ERROR', `There is no table ${table}.`);
  const name = String(found['name']);
  const { type } = found;
  if (type !== 'table' || name.startsWith('sqlite_')) {
    throw new TargetError('hold', '', `${table} is not a table that rows can be written to.`);
  }
  const columns = connection.query(`PRAGMA main.table_xinfo(${quoted(name)})`);
  const indexes = connection.query(`PRAGMA main.index_list(${quoted(name)})`);
  return {
    name,
    strict: Number(found['strict']),
    columns: columns as unknown as ColumnRow[],
    // The primary key first, then by name: the list's own order is of no meaning.
    indexes: (indexes as unknown as IndexRow[]).sort(
      (a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1),
    ),
  };
}

const rank = (row: IndexRow): number => (row.origin === 'pk' ? 0 : 1);

/** The column of an INTEGER PRIMARY KEY: the only kind of primary key that has no index. */
function rowidAlias({ columns, indexes }: Relation): string | undefined {
  if (indexes.some((row) => row.origin === 'pk')) return undefined;
  return columns.find((row) => row.pk === 1)?.name;
}

function toKnown(connection: Connection, relation: Relation, row: ColumnRow): Known {
  const affinity = affinityOf(row.type, relation.strict === 1);
  const type = columnType(row.type, affinity);
  const isAlias = row.name === rowidAlias(relation);
  const nullable = row.notnull === 0 && !isAlias;
  const collation = collationOf(connection, relation.name, row.name);
  const hasDefault = row.dflt_value !== null && row.dflt_value.toUpperCase() !== 'NULL';
  return {
    affinity,
    collation,
    column: {
      name: row.name,
      type,
      sqlType: row.type,
      nullable,
      hasDefault: nullable || isAlias || hasDefault,
      writable: row.hidden === 0,
      bytewiseEqual: collation === 'BINARY' && isBytewise(type),
    },
  };
}

/** The schema does not tell a column's collation; how two texts of it compare does. */
function collationOf(connection: Connection, table: string, column: string): Collation {
  const [row] = connection.query(
    `SELECT letters = 'a' AS letters, spaces = 'a' AS spaces FROM (
       SELECT ${quoted(column)} AS letters, ${quoted(column)} AS spaces
       FROM ${quoted(table)} WHERE 0
       UNION ALL SELECT 'A', 'a ')`,
  );
  if (row?.['letters'] === 1) return 'NOCASE';
  return row?.['spaces'] === 1 ? 'RTRIM' : 'BINARY';
}

interface Verdict {
  readonly name: string;
  readonly columns: readonly string[];
  readonly unfit: string | null;
}

function judge(
  connection: Connection,
  index: IndexRow,
  of: Relation & { readonly collations: ReadonlyMap<string, Collation> },
): Verdict {
  const rows = connection
    .query(`PRAGMA main.index_xinfo(${quoted(index.name)})`)
    .filter((row) => row['key'] === 1);
  const columns = rows.map((row) => row['name']).filter((name) => typeof name === 'string');
  const mayBeNull = (name: string): boolean =>
    of.columns.some((row) => row.name === name && row.notnull === 0) && name !== rowidAlias(of);
  const verdict = (unfit: string | null): Verdict => ({ name: index.name, columns, unfit });
  if (index.partial === 1) return verdict('it is partial');
  if (columns.length < rows.length) return verdict('it is over an expression');
  if (columns.some(mayBeNull)) return verdict('a column of it may be null');
  const isOther = rows.some(
    (row) => String(row['coll']).toUpperCase() !== of.collations.get(String(row['name'])),
  );
  if (isOther) return verdict('its collation is not its column’s');
  const list = columns.map(quoted).join(', ');
  // SQLite's own answer: it refuses, for one, generated columns.
  const upsert = `INSERT INTO ${quoted(of.name)} (${list})
    VALUES (${columns.map(() => '?').join(', ')}) ON CONFLICT (${list}) DO NOTHING`;
  return verdict(connection.canPrepare(upsert) ? null : 'ON CONFLICT does not accept it');
}

function warnings(
  { column, affinity, collation }: Known,
  keys: readonly (readonly string[])[],
): string[] {
  const told: string[] = [];
  const key = keys.find((columns) => columns.includes(column.name));
  if (collation !== 'BINARY' && key) {
    told.push(
      `Key (${key.join(', ')}): ${column.name} compares unequal texts as equal, ` +
        'so that abc and ABC may be one key.',
    );
  }
  if (column.type.kind === 'cast' && (affinity === 'numeric' || affinity === 'integer')) {
    told.push(
      `Column ${column.name}: SQLite takes texts that look like numbers for numbers under ` +
        `the type ${column.sqlType}; rows that it would change are refused. TEXT keeps them.`,
    );
  }
  return told;
}

/** Of the columns and of the keys: a key that is gone matters as much as a column. */
function fingerprint(relation: Relation, keys: readonly (readonly string[])[]): string {
  const marks = relation.columns.map((row) => [row.name, row.type, row.notnull, row.hidden]);
  const text = JSON.stringify([relation.strict, marks, keys]);
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}

/** The tables that rows can be written to, without SQLite's and our own. */
export function tableNames(connection: Connection): string[] {
  const rows = connection.query(
    `SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'
       AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'holdfast\\_%' ESCAPE '\\'
     ORDER BY name`,
  );
  return rows.map((row) => String(row['name']));
}

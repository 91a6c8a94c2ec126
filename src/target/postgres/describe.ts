// Reads a table's columns and unique keys from the catalog.
import type { Column, ColumnType, Table } from '../../accept/columns.ts';
import { TargetError } from '../target.ts';
import type { Connection, Row } from './connection.ts';
import { tableName } from './text.ts';

// A domain is written as its innermost base type; its own modifier counts where it has one.
const columnsSql = `
WITH RECURSIVE columns AS (
  SELECT a.*, t.typname AS own_name, n.nspname AS own_schema FROM pg_attribute a
  JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace
  WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
), bases (attnum, type, modifier, strict, filled) AS (
  SELECT attnum, atttypid, atttypmod, attnotnull, false FROM columns
  UNION ALL
  SELECT b.attnum, t.typbasetype, t.typtypmod, b.strict OR t.typnotnull,
    b.filled OR t.typdefault IS NOT NULL
  FROM bases b JOIN pg_type t ON t.oid = b.type AND t.typtype = 'd'
)
SELECT c.attname AS name, format_type(c.atttypid, c.atttypmod) AS "sqlType",
  NOT b.strict AS nullable, c.attgenerated = '' AS writable,
  b.filled OR c.atthasdef OR c.attidentity <> '' OR NOT b.strict AS "hasDefault",
  t.typname AS base, t.typtype AS sort, n.nspname = 'pg_catalog' AS "isBuiltIn", b.modifier,
  coalesce(l.collisdeterministic, true) AS "isDeterministic",
  ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid
        ORDER BY e.enumsortorder) AS labels,
  format('%s %s %s.%s %s', c.attnum, quote_ident(c.attname), c.own_schema, c.own_name,
    c.atttypmod) AS mark,
  format('%s %s %s %s', c.attnotnull, c.atthasdef, c.attidentity, c.attgenerated) AS demand
FROM columns c
JOIN bases b ON b.attnum = c.attnum
JOIN pg_type t ON t.oid = b.type AND t.typtype <> 'd'
JOIN pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_collation l ON l.oid = c.attcollation
ORDER BY c.attnum`;

const keysSql = `
SELECT i.relname AS name, x.indisprimary AS "isPrimary",
  ARRAY(SELECT a.attname::text FROM unnest(x.indkey::int2[]) WITH ORDINALITY k (attnum, place)
    JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
    WHERE k.place <= x.indnkeyatts ORDER BY k.place) AS columns,
  CASE
    WHEN NOT x.indisvalid OR NOT x.indisready THEN 'it is not valid'
    WHEN NOT x.indimmediate THEN 'it is deferrable'
    WHEN x.indpred IS NOT NULL THEN 'it is partial'
    WHEN x.indexprs IS NOT NULL THEN 'it is over an expression'
    WHEN EXISTS (SELECT FROM unnest(x.indkey::int2[]) WITH ORDINALITY k (attnum, place)
      JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
      WHERE k.place <= x.indnkeyatts AND NOT a.attnotnull) THEN 'a column of it may be null'
    WHEN EXISTS (SELECT FROM unnest(x.indkey::int2[], x.indcollation::oid[])
        WITH ORDINALITY k (attnum, coll, place)
      JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
      JOIN pg_collation c ON c.oid IN (k.coll, a.attcollation)
      WHERE k.place <= x.indnkeyatts AND k.coll <> a.attcollation
        AND NOT c.collisdeterministic) THEN 'its collation is not that of its column'
  END AS unfit,
  CASE WHEN x.indisvalid AND x.indisready AND x.indimmediate AND x.indpred IS NULL
    AND x.indexprs IS NULL THEN format('%s %s %s', x.indkey, x.indnkeyatts, x.indcollation)
  END AS mark
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
WHERE x.indrelid = $1::oid AND x.indisunique
ORDER BY x.indisprimary DESC, i.relname`;

interface ColumnRow {
  readonly name: string;
  readonly sqlType: string;
  readonly nullable: boolean;
  readonly writable: boolean;
  readonly hasDefault: boolean;
  readonly base: string;
  readonly sort: string;
  readonly isBuiltIn: boolean;
  readonly modifier: number;
  readonly isDeterministic: boolean;
  readonly labels: readonly string[];
  readonly mark: string;
  /** What it asks of a row. */
  readonly demand: string;
}

interface KeyRow {
  readonly name: string;
  readonly columns: readonly string[];
  readonly unfit: string | null;
  /** Of what the guard asks for. */
  readonly mark: string | null;
}

/** Rejects with 'hold' where the table is missing, is not a table, or may not be written. */
export async function describe(connection: Connection, table: string): Promise<Table> {
  const relation = await findRelation(connection, table);
  const { oid } = relation;
  const columnRows = (await connection.query(columnsSql, [oid])) as unknown as ColumnRow[];
  const keyRows = (await connection.query(keysSql, [oid])) as unknown as KeyRow[];
  // Each part is of the same look as what it stands for: a change between the two is noticed.
  const [digest] = await connection.query('SELECT md5($1) || md5($2) || md5($3) AS fingerprint', [
    columnRows.map((row) => row.mark).join(','),
    [...new Set(keyRows.flatMap((row) => row.mark ?? []))].sort().join(','),
    columnRows.map((row) => row.demand).join(','),
  ]);
  const columns = columnRows.map(toColumn);
  return {
    name: table,
    columns,
    keys: keyRows.filter((row) => row.unfit === null).map((row) => row.columns),
    fingerprint: String(digest?.['fingerprint']),
    warnings: [...warnings(keyRows, columnRows), ...relationWarnings(table, relation)],
  };
}

async function findRelation(connection: Connection, table: string): Promise<Row> {
  const [found] = await connection.query(
    `SELECT c.oid, c.relkind AS kind, c.relhasrules AS "hasRules", c.relpersistence AS persistence,
       has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'SELECT') AS allowed
     FROM pg_class c WHERE c.oid = to_regclass($1)`,
    [tableName(table)],
  );
  if (!found) throw new TargetError('hold', '42P01', `There is no table ${table}.`);
  if (found['kind'] !== 'r' && found['kind'] !== 'p') {
    throw new TargetError('hold', '42809', `${table} is not a table.`);
  }
  if (found['allowed'] === true) return found;
  throw new TargetError('hold', '42501', `INSERT and SELECT on ${table} are not granted.`);
}

function relationWarnings(table: string, relation: Row): string[] {
  const told: string[] = [];
  if (relation['hasRules'] === true) {
    told.push(`Table ${table} has rules; a bulk write (COPY) does not apply them.`);
  }
  if (relation['persistence'] === 'u') {
    told.push(`Table ${table} is unlogged: it is emptied when the server crashes.`);
  }
  return told;
}

function warnings(keys: readonly KeyRow[], columns: readonly ColumnRow[]): string[] {
  const told = keys
    .filter((row) => row.unfit !== null)
    .map((row) => `Unique index ${row.name} cannot be a key: ${row.unfit}.`);
  const folding = columns.filter((row) => !row.isDeterministic || isFolding(row));
  for (const column of folding) {
    const key = keys.find((row) => row.unfit === null && row.columns.includes(column.name));
    if (!key) continue;
    told.push(
      `Key (${key.columns.join(', ')}): ${column.name} compares unequal texts as equal, ` +
        'so that abc and ABC may be one key.',
    );
  }
  return told;
}

/** The extension's case-insensitive text: its bytes are those of text. */
const isFolding = (row: ColumnRow): boolean => row.base === 'citext' && !row.isBuiltIn;

function toColumn(row: ColumnRow): Column {
  const type = toType(row);
  return {
    name: row.name,
    type,
    sqlType: row.sqlType,
    nullable: row.nullable,
    hasDefault: row.hasDefault,
    writable: row.writable,
    bytewiseEqual: row.isDeterministic && !isFolding(row) && isBytewise(type),
  };
}

/** 1.0 = 1.00 as a numeric without scale; a scale makes their bytes the same. */
function isBytewise(type: ColumnType): boolean {
  if (type.kind === 'numeric') return type.scale !== undefined;
  if (type.kind === 'text') return type.padded !== true;
  return !['float', 'json', 'jsonb', 'cast'].includes(type.kind);
}

const simple: { readonly [base: string]: ColumnType } = {
  bool: { kind: 'bool' },
  int2: { kind: 'int', bytes: 2 },
  int4: { kind: 'int', bytes: 4 },
  int8: { kind: 'int', bytes: 8 },
  float4: { kind: 'float', bytes: 4 },
  float8: { kind: 'float', bytes: 8 },
  text: { kind: 'text' },
  bytea: { kind: 'bytea' },
  date: { kind: 'date' },
  uuid: { kind: 'uuid' },
  json: { kind: 'json' },
  jsonb: { kind: 'jsonb' },
};

function toType(row: ColumnRow): ColumnType {
  const { base, modifier } = row;
  if (row.sort === 'e') return { kind: 'enum', labels: row.labels };
  if (isFolding(row)) return { kind: 'text' };
  if (!row.isBuiltIn) return { kind: 'cast' };
  if (base === 'numeric') return numericType(modifier);
  if (base === 'time' || base === 'timestamp' || base === 'timestamptz') {
    return { kind: base, fraction: modifier < 0 ? 6 : modifier };
  }
  if (base === 'varchar' || base === 'bpchar') {
    // The modifier counts four bytes of header.
    const bound = modifier < 0 ? {} : { charactersMax: modifier - 4 };
    return { kind: 'text', ...bound, ...(base === 'bpchar' ? { padded: true } : {}) };
  }
  return simple[base] ?? { kind: 'cast' };
}

/** The modifier is 4 + (precision << 16 | scale in 11 bits, signed since version 15). */
function numericType(modifier: number): ColumnType {
  if (modifier < 0) return { kind: 'numeric' };
  const precision = (modifier - 4) >> 16;
  const scale = (((modifier - 4) & 0x7ff) ^ 1024) - 1024;
  return scale < 0 || scale > precision ? { kind: 'cast' } : { kind: 'numeric', precision, scale };
}

/** Ordinary and partitioned tables, without partitions, and without the system's and our own. */
export async function tableNames(connection: Connection): Promise<string[]> {
  const rows = await connection.query(
    `SELECT CASE WHEN pg_table_is_visible(c.oid) THEN '' ELSE n.nspname || '.' END || c.relname
       AS name
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
       AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
       AND c.relname NOT LIKE 'holdfast\\_%'
     ORDER BY 1`,
  );
  return rows.map((row) => String(row['name']));
}

// Reads a table's columns and unique keys from the catalog.
import { createHash } from 'node:crypto';
import type { Column, Table } from '../../accept/columns.ts';
import { TargetError } from '../target.ts';
import type { Connection, Row } from './connection.ts';
import type { Server } from './server.ts';
import { literal, tableName } from './text.ts';
import { type ColumnRow, columnType, isBytewise, isFolding } from './types.ts';

interface KeyRow {
  readonly name: string;
  readonly columns: readonly string[];
  readonly unfit: string | null;
}

/** How a catalog query names the table. */
function ofTable(table: string, [schemas, tables] = ['table_schema', 'table_name']): string {
  const [schema, ...rest] = table.split('.');
  return rest.length === 0
    ? `${schemas} = DATABASE() AND ${tables} = ${literal(table)}`
    : `${schemas} = ${literal(schema ?? '')} AND ${tables} = ${literal(rest.join('.'))}`;
}

/**
 * What a batch compares (P5): columns, keys and engine as the server writes them down, digested,
 * and the table's character set and collation, which it does not write down again for the columns
 * that have them. Not the counter of ids, the partitions or the comment of the table, which change
 * while rows come in.
 */
export function fingerprintOf(shown: Row | undefined): string {
  const text = String(shown?.['Create Table']);
  const [body = '', options = ''] = text.split('\n) ENGINE=', 2);
  const [engine = ''] = /^\w+/.exec(options) ?? [];
  const [charset = ''] = / DEFAULT CHARSET=\w+(?: COLLATE=\w+)?/.exec(options) ?? [];
  return createHash('sha256').update(`${body}\n${engine}${charset}`).digest('hex').slice(0, 32);
}

const columnsOf = (table: string): string => `SELECT column_name AS name, column_type AS type,
    data_type AS base, character_set_name AS charset, collation_name AS collation,
    is_nullable AS nullable, column_default AS filling, extra
  FROM information_schema.columns WHERE ${ofTable(table)} ORDER BY ordinal_position`;

const indexesOf = (table: string): string => `SELECT index_name AS name, column_name AS \`column\`,
    sub_part AS part, nullable, index_type AS type
  FROM information_schema.statistics WHERE ${ofTable(table)} AND non_unique = 0
  ORDER BY index_name = 'PRIMARY' DESC, index_name, seq_in_index`;

/** Triggers keep the sql_mode that they were made under, whatever a session sets. */
const laxTriggersOf = (table: string): string => `SELECT trigger_name AS name
  FROM information_schema.triggers
  WHERE ${ofTable(table, ['event_object_schema', 'event_object_table'])}
    AND sql_mode NOT LIKE '%STRICT%' ORDER BY trigger_name`;

const laxTrigger = (name: string): string =>
  `Trigger ${name} was made under an sql_mode that is not strict: what it sets may be cut short ` +
  'without a word.';

/** Columns as the catalog has them; `shown` is SHOW CREATE TABLE's text. */
const toColumnRow = (row: Row, shown: string): ColumnRow => {
  const name = String(row['name']);
  const extra = String(row['extra']);
  const nullable = row['nullable'] === 'YES';
  return {
    name,
    sqlType: String(row['type']),
    base: String(row['base']).toLowerCase(),
    charset: row['charset'] as string | null,
    collation: row['collation'] as string | null,
    nullable,
    isFilled: nullable || row['filling'] !== null || /auto_increment|default_gen/i.test(extra),
    isGenerated: /\b(?:virtual|stored|persistent)\b/i.test(extra),
    isJson: shown.toLowerCase().includes(`check (json_valid(\`${name.toLowerCase()}\`))`),
  };
};

/**
 * The columns of a table as it was described; rejects with 'altered' where it is another one now.
 */
export async function readColumns(
  connection: Connection,
  { name, fingerprint }: Pick<Table, 'name' | 'fingerprint'>,
): Promise<ColumnRow[]> {
  const [shown, rows] = await connection.script(
    `SHOW CREATE TABLE ${tableName(name)}; ${columnsOf(name)}`,
  );
  const [shownRow] = shown?.rows ?? [];
  if (fingerprintOf(shownRow) !== fingerprint) throw altered(name);
  const text = String(shownRow?.['Create Table']);
  return (rows?.rows ?? []).map((row) => toColumnRow(row, text));
}

export const altered = (table: string): TargetError =>
  new TargetError('altered', '', `The columns or keys of ${table} are not as they were described.`);

/** Rejects with 'hold' where the table is missing, is not one of InnoDB's, or may not be read. */
export async function describe(
  connection: Connection,
  server: Server,
  table: string,
): Promise<Table> {
  await checkRelation(connection, table);
  // From one look: the metadata stays locked to the transaction's end.
  const answers = await connection.transaction(async () => {
    const all = await connection.script(`START TRANSACTION;
      SELECT 1 FROM ${tableName(table)} LIMIT 0; SHOW CREATE TABLE ${tableName(table)};
      ${columnsOf(table)}; ${indexesOf(table)}; ${laxTriggersOf(table)}`);
    await connection.commit();
    return all;
  });
  const [, , shown, columnAnswer, indexAnswer, triggerAnswer] = answers;
  const [shownRow] = shown?.rows ?? [];
  const text = String(shownRow?.['Create Table']);
  const rows = (columnAnswer?.rows ?? []).map((row) => toColumnRow(row, text));
  const keys = keyRows(indexAnswer?.rows ?? []);
  const columns = rows.map((row) => toColumn(row, server.timestampMax));
  refuseUnwritable(table, columns, rows);
  return {
    name: table,
    columns,
    keys: keys.filter((key) => key.unfit === null).map((key) => key.columns),
    fingerprint: fingerprintOf(shownRow),
    warnings: [
      ...warnings(keys, columns, rows),
      ...(triggerAnswer?.rows ?? []).map((row) => laxTrigger(String(row['name']))),
    ],
    rowBytesMax: rowBytesMax(server),
  };
}

/**
 * A row must fit into one statement, where LOAD DATA is not to be had: written out, a tuple takes
 * at most twice its bytes, and a little for each column.
 */
const rowBytesMax = ({ packetBytesMax }: Server): number =>
  Math.max(512, Math.floor(packetBytesMax / 2) - 65_536);

async function checkRelation(connection: Connection, table: string): Promise<void> {
  const [found] = await connection.query(
    `SELECT table_type AS type, engine FROM information_schema.tables WHERE ${ofTable(table)}`,
  );
  if (!found) throw new TargetError('hold', 'ER_NO_SUCH_TABLE', `There is no table ${table}.`);
  const { type } = found;
  const engine = String(found['engine']);
  if (type !== 'BASE TABLE' && type !== 'SYSTEM VERSIONED') {
    throw new TargetError('hold', '', `${table} is not a table.`);
  }
  if (engine.toLowerCase() === 'innodb') return;
  const message = `${table} is of engine ${engine}, which has no transactions: what a batch wrote
    could not be undone, and a crash would lose it. ALTER TABLE ${table} ENGINE = InnoDB.`;
  throw new TargetError('hold', '', message.replaceAll(/\s+/g, ' '));
}

function keyRows(rows: readonly Row[]): KeyRow[] {
  const byName = new Map<string, Row[]>();
  for (const row of rows) {
    const name = String(row['name']);
    byName.set(name, [...(byName.get(name) ?? []), row]);
  }
  return [...byName].map(([name, parts]) => ({
    name,
    columns: parts.map((part) => String(part['column'])),
    unfit: unfit(parts),
  }));
}

function unfit(parts: readonly Row[]): string | null {
  if (parts.some((part) => part['column'] === null)) return 'it is over an expression';
  if (parts.some((part) => part['part'] !== null)) return 'it is over the beginning of a column';
  if (parts.some((part) => part['type'] === 'HASH')) return 'it is a hash over a long column';
  return parts.some((part) => part['nullable'] === 'YES') ? 'a column of it may be null' : null;
}

function toColumn(row: ColumnRow, timestampMax: number): Column {
  const type = columnType(row, timestampMax);
  return {
    name: row.name,
    type: type ?? { kind: 'cast' },
    sqlType: row.sqlType,
    nullable: row.nullable,
    hasDefault: row.isFilled,
    writable: !row.isGenerated && type !== undefined,
    bytewiseEqual: type !== undefined && isBytewise(row, type),
  };
}

function refuseUnwritable(
  table: string,
  columns: readonly Column[],
  rows: readonly ColumnRow[],
): void {
  const place = columns.findIndex(
    (column, i) => !column.writable && !column.hasDefault && rows[i]?.isGenerated !== true,
  );
  const column = columns[place];
  if (!column) return;
  const what = `Column ${column.name} of ${table} is of type ${column.sqlType}`;
  throw new TargetError('hold', '', `${what}, which cannot be written, and has no default.`);
}

function warnings(
  keys: readonly KeyRow[],
  columns: readonly Column[],
  rows: readonly ColumnRow[],
): string[] {
  const told = keys
    .filter((key) => key.unfit !== null)
    .map((key) => `Unique index ${key.name} cannot be a key: ${key.unfit}.`);
  rows.forEach((row, i) => {
    const column = columns[i];
    if (!column) return;
    if (!column.writable && !row.isGenerated) {
      told.push(`Column ${row.name}: rows must leave it out; ${row.sqlType} cannot be written.`);
    }
    const key = keys.find((one) => one.unfit === null && one.columns.includes(row.name));
    if (!key || column.bytewiseEqual || row.collation === null) return;
    const example = isFolding(row) ? 'abc and ABC' : 'abc and abc with a space behind it';
    told.push(
      `Key (${key.columns.join(', ')}): ${row.name} compares unequal texts as equal, ` +
        `so that ${example} may be one key.`,
    );
  });
  return told;
}

/** Tables of this database, without our own. */
export async function tableNames(connection: Connection): Promise<string[]> {
  const rows = await connection.query(
    `SELECT table_name AS name FROM information_schema.tables
     WHERE table_schema = DATABASE() AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')
       AND table_name NOT LIKE 'holdfast\\\\_%' ORDER BY 1`,
  );
  return rows.map((row) => String(row['name']));
}

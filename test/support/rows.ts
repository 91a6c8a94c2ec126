// Tables and readers for the tests of accept: a table in a line, rows in, JSON text and codes out.
import type { Column, ColumnType, Table } from '../../src/accept/columns.ts';
import { compileRows } from '../../src/accept/compile.ts';
import { renderRow } from '../../src/accept/json-text.ts';
import { RowBuffer } from '../../src/accept/row-buffer.ts';
import type { ReadResult, RowReader, RowRules } from '../../src/accept/rows.ts';

export function column(name: string, type: ColumnType, rest: Partial<Column> = {}): Column {
  const known = { nullable: false, hasDefault: false, writable: true, bytewiseEqual: true };
  return { name, type, sqlType: type.kind, ...known, ...rest };
}

export const optional = { nullable: true, hasDefault: true } as const;

export function tableOf(...columns: readonly Column[]): Table {
  return { name: 't', columns, keys: [], fingerprint: 'f', warnings: [] };
}

export const payments = tableOf(
  column('tx_id', { kind: 'int', bytes: 8 }),
  column('user_id', { kind: 'int', bytes: 8 }),
  column('amount', { kind: 'numeric', precision: 18, scale: 2 }),
  column('status', { kind: 'text' }),
  column('created_at', { kind: 'timestamptz', fraction: 6 }),
  column('note', { kind: 'text' }, optional),
);

export function reader(table: Table, rules: Partial<RowRules> = {}): RowReader {
  const defaults = { key: [], lanes: 1, nonZero: [], inexact: 'refuse', lineBytesMax: 1 << 20 };
  return compileRows(table, { ...defaults, ...rules } as RowRules);
}

/** The rows of a buffer as JSON text. */
export function rendered(table: Table, into: RowBuffer): string[] {
  return Array.from({ length: into.count }, (_, row) =>
    renderRow(table, into.columnSets[into.sets[row] ?? 0] ?? [], {
      bytes: into.bytes,
      start: into.start(row),
      end: into.ends[row] ?? 0,
    }),
  );
}

/** Line, column and code of each rejection: `2 amount inexact`. */
export const refusals = (result: ReadResult): string[] =>
  result.rejected.map(({ rejection: r }) => `${r.line} ${r.column ?? '-'} ${r.code}`);

export function readLines(table: Table, text: string | Uint8Array, rules?: Partial<RowRules>) {
  const into = new RowBuffer();
  const result = reader(table, rules).ndjson(Buffer.from(text), into);
  return { rows: rendered(table, into), refused: refusals(result) };
}

/** One value in a column `v` of the given type: its JSON text again, or the code of its refusal. */
export function value(type: ColumnType, json: string, rules?: Partial<RowRules>): string {
  const { rows, refused } = readLines(tableOf(column('v', type)), `{"v":${json}}\n`, rules);
  return rows[0]?.slice(5, -1) ?? refused[0]?.split(' ')[2] ?? 'nothing';
}

/** The same of a CSV field. */
export function field(type: ColumnType, text: string, rules?: Partial<RowRules>): string {
  const table = tableOf(column('v', type));
  const into = new RowBuffer();
  const result = reader(table, rules)
    .csv({ columns: ['v'] })
    .read(Buffer.from(`${text}\n`), into);
  return rendered(table, into)[0]?.slice(5, -1) ?? refusals(result)[0]?.split(' ')[2] ?? 'nothing';
}

// One row finds its end in a table of the simulated target, by the stream's rules.
import assert from 'node:assert/strict';
import type { Column } from '../../src/accept/columns.ts';
import { fieldValue, type TupleBytes, tupleBytes } from '../../src/accept/render.ts';
import type { ColumnSet } from '../../src/accept/row-buffer.ts';
import type { RowCode } from '../../src/errors.ts';
import { type Batch, type MergeRules, type RowEnd, rowEnd } from '../../src/merge/batch.ts';
import { type Route, type Rung, TargetError } from '../../src/target/target.ts';
import { eachField } from '../support/fields.ts';
import { fitRow } from './simulated-cast.ts';
import {
  type Cell,
  cellText,
  type SimulatedStore,
  type SimulatedTable,
  type StoredRow,
} from './simulated-store.ts';

export interface Refusal {
  readonly code: RowCode;
  readonly message: string;
}

/** The columns that a tuple provides. */
export function cellsOf(
  from: TupleBytes,
  tuple: { readonly start: number; readonly columns: readonly Column[]; readonly set: ColumnSet },
): StoredRow {
  const cells: { [column: string]: Cell } = {};
  eachField(from, tuple, (column, range) => {
    const cell = fieldValue(column, from, range);
    // The buffer is used again.
    cells[column.name] = cell instanceof Uint8Array ? cell.slice() : cell;
  });
  return cells;
}

/** What each row of a batch provides. */
export function givenBy(batch: Batch): (row: number) => StoredRow {
  const from = tupleBytes(batch.bytes);
  const { columns } = batch.journaled;
  return (row) => {
    const set = batch.columnSets[batch.sets[row] ?? 0] ?? [];
    return cellsOf(from, { start: batch.starts[row] ?? 0, columns, set });
  };
}

/** A row as it was journaled. */
export interface GivenRow {
  readonly row: StoredRow;
  /** Of its table then. */
  readonly columns: readonly Column[];
}

/** Whether the table has just that row. */
export function isThere(table: SimulatedTable, stored: StoredRow, given: GivenRow): boolean {
  const row = fitRow(table, given);
  return typeof row !== 'string' && isSame(stored, row);
}

function isSame(stored: StoredRow, row: StoredRow): boolean {
  for (const name in row) {
    if (stored[name] === row[name]) continue;
    if (cellText(stored[name] ?? null) !== cellText(row[name] ?? null)) return false;
  }
  return true;
}

/** Throws 'hold' where the table lacks one of the columns. */
export function mustHave(table: SimulatedTable, columns: Iterable<string>): void {
  for (const name of columns) {
    if (table.columns.some(({ column }) => column.name === name)) continue;
    throw new TargetError('hold', '', `Column ${name} of the rows is gone.`);
  }
}

export function place(
  store: SimulatedStore,
  table: SimulatedTable,
  of: GivenRow & { readonly rules: MergeRules; readonly rung: Rung; readonly route: Route },
): RowEnd | Refusal {
  const { rules, rung } = of;
  const fit = fitRow(table, of);
  const row = typeof fit === 'string' ? of.row : fit;
  if (fit !== of.row) store.casts[of.route]++;
  const whole: { [column: string]: Cell } = {};
  for (const { column, value = null } of table.columns) whole[column.name] = value;
  // A null that was given stays null.
  Object.assign(whole, row);
  const key = store.rowKey(table, whole);
  const stored = table.rows.get(key);
  const message = typeof fit === 'string' ? fit : refusalOf(table, whole);
  if (rung === 'optimistic' && (message !== undefined || stored)) {
    throw new TargetError(stored ? 'conflict' : 'row', '', message ?? 'The key is there.');
  }
  if (message !== undefined) return { code: 'refused', message };
  if (!stored) {
    if (table.swallow?.(whole) === true) return swallowed(rung);
    store.set(table.rows, key, whole);
    return rowEnd.merged;
  }
  const end = meet(stored, row, rules.onConflict);
  if (end === rowEnd.merged) store.set(table.rows, key, { ...stored, ...row });
  return end;
}

function refusalOf(table: SimulatedTable, whole: StoredRow): string | undefined {
  const empty = table.columns.find(
    ({ column: { name, nullable, hasDefault } }) =>
      !nullable && !hasDefault && (whole[name] ?? null) === null,
  );
  return empty ? `${empty.column.name} must not be null.` : table.refuse?.(whole);
}

function swallowed(rung: Rung): Refusal {
  const message = 'The row was not inserted, and no row of its key is there.';
  if (rung === 'optimistic') throw new TargetError('row', '', message);
  return { code: 'swallowed', message };
}

/** A row meets the row of its key. */
function meet(
  stored: StoredRow,
  row: StoredRow,
  onConflict: MergeRules['onConflict'],
): RowEnd | Refusal {
  if (typeof onConflict === 'object') {
    const [was, is] = [stored[onConflict.newest] ?? null, row[onConflict.newest] ?? null];
    assert(was !== null && is !== null, 'a version is never null');
    if (is > was) return rowEnd.merged;
    if (is < was) return rowEnd.superseded;
  }
  if (isSame(stored, row)) return rowEnd.duplicate;
  if (onConflict === 'update') return rowEnd.merged;
  if (onConflict === 'ignore') return rowEnd.superseded;
  return { code: 'key-conflict', message: 'Another row has this key and other content.' };
}

// The fields of a tuple, one after another.
import assert from 'node:assert/strict';
import type { Column } from '../../src/accept/columns.ts';
import type { FieldRange, TupleBytes } from '../../src/accept/render.ts';
import type { ColumnSet } from '../../src/accept/row-buffer.ts';

/**
 * Calls `each` for every field of the tuple whose bytes begin at `start`, in the order of the
 * table.
 */
export function eachField(
  from: TupleBytes,
  tuple: { readonly start: number; readonly columns: readonly Column[]; readonly set: ColumnSet },
  each: (column: Column, range: FieldRange) => void,
): void {
  const { columns, set } = tuple;
  assert.equal(from.view.getInt16(tuple.start), set.length, 'the tuple has the columns of its set');
  let at = tuple.start + 2;
  for (const place of set) {
    const column = columns[place];
    assert(column, 'the column set names columns of the table');
    const length = from.view.getInt32(at);
    each(column, { start: at + 4, length });
    at += 4 + Math.max(length, 0);
  }
}

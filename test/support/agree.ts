// Reads lines twice: by a reader that has learned their shapes, and each by a reader that has
// learned nothing. Everything that reading leaves behind must be the same.
import assert from 'node:assert/strict';
import type { Table } from '../../src/accept/columns.ts';
import { RowBuffer } from '../../src/accept/row-buffer.ts';
import type { RowReader, RowRules } from '../../src/accept/rows.ts';
import { reader } from './rows.ts';

/** Tuple, column set and lane of each row; without a key lanes go in turn and are left out. */
export function everything(into: RowBuffer, isKeyed: boolean) {
  return Array.from({ length: into.count }, (_, row) => [
    Buffer.from(into.bytes.subarray(into.start(row), into.ends[row])).toString('hex'),
    into.columnSets[into.sets[row] ?? 0]?.join(),
    isKeyed ? into.lanes[row] : 0,
  ]);
}

export interface Lines {
  readonly table: Table;
  readonly rules: Partial<RowRules>;
  /** Without their newlines. */
  readonly lines: readonly (string | Uint8Array)[];
}

/** Returns how many of the rows were good ones. */
export function agree({ table, rules, lines }: Lines, shift = 0): number {
  const ended = lines.map((line) => Buffer.concat([Buffer.from(line), Buffer.from('\n')]));
  const isKeyed = (rules.key ?? []).length > 0 || rules.laneColumn !== undefined;
  const once = (read: RowReader, bytes: Uint8Array, firstLine = 1) => {
    const into = new RowBuffer(64, 1);
    const { rejected, consumed } = read.ndjson(bytes, into, { firstLine });
    assert.equal(consumed, bytes.length);
    return {
      rows: everything(into, isKeyed),
      rejections: rejected.map((line) => line.rejection),
    };
  };
  // A slice somewhere in a larger buffer, so that its end is not the memory's end.
  const input = Buffer.concat([Buffer.alloc(shift, 0x7b), ...ended, Buffer.alloc(shift, 0x7d)]);
  const slice = input.subarray(shift, input.length - shift);
  const learned = reader(table, rules);
  once(learned, slice);
  const fast = once(learned, slice);
  const slow = ended.map((line, i) => once(reader(table, rules), line, i + 1));
  const rows = slow.flatMap((one) => one.rows);
  assert.deepEqual(fast.rows, rows);
  const rejections = slow.flatMap((one) => one.rejections);
  assert.deepEqual(fast.rejections, rejections);
  return rows.length;
}

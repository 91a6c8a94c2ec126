import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Column, Table } from '../src/accept/columns.ts';
import type { Batch } from '../src/merge/batch.ts';
import { Chunks, numberPrefix, plainRows, prefixedRows } from '../src/target/postgres/copy.ts';
import { batchOf } from './support/batches.ts';

const column: Column = {
  name: 'note',
  type: { kind: 'text' },
  sqlType: 'text',
  nullable: true,
  hasDefault: false,
  writable: true,
  bytewiseEqual: true,
};
const journaled: Table = {
  name: 't',
  columns: [column],
  keys: [],
  fingerprint: '',
  warnings: [],
};

/** Rows of every length: of one word or none, around what is copied by a call, and of a chunk. */
const note = fc.oneof(
  { weight: 40, arbitrary: fc.nat(40) },
  { weight: 40, arbitrary: fc.integer({ min: 140, max: 170 }) },
  { weight: 2, arbitrary: fc.integer({ min: 8_000, max: 9_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 65_000, max: 140_000 }) },
);

function batchWith(lengths: readonly number[]): Batch {
  const rules = { stream: 's', key: [], onConflict: 'ignore' } as const;
  const records = lengths.map((length, i) => {
    if (length === 1) return { note: null };
    return { note: String.fromCharCode(97 + (i % 26)).repeat(length) };
  });
  return batchOf({ writer: 'w', epoch: 1, rules, journaled }, [{ lane: 0, first: 1, records }]);
}

/** Rows in an order in which some follow each other, and not all of them. */
const orders = fc.array(note, { minLength: 1, maxLength: 400, size: 'max' }).chain((lengths) =>
  fc.record({
    lengths: fc.constant(lengths),
    parts: fc.array(fc.tuple(fc.nat(lengths.length - 1), fc.nat(30)), { maxLength: 40 }),
  }),
);

function rowsOf(parts: readonly (readonly [number, number])[], count: number): Int32Array {
  return Int32Array.from(
    parts.flatMap(([first, more]) =>
      Array.from({ length: Math.min(more, count - first) }, (_, i) => first + i),
    ),
  );
}

const tupleOf = (batch: Batch, row: number): Buffer =>
  Buffer.from(batch.bytes.subarray(batch.starts[row], batch.tupleEnds[row]));

test('the rows of a COPY are those of the batch, byte by byte, in the order asked for', () => {
  const chunks = new Chunks();
  fc.assert(
    fc.property(orders, fc.boolean(), ({ lengths, parts }, isAnswered) => {
      const batch = batchWith(lengths);
      const rows = rowsOf(parts, batch.count);
      const tuples = [...rows].map((row) => tupleOf(batch, row));
      const plain = [...plainRows(batch, rows, chunks)];
      const sent = Buffer.concat(plain);
      assert(sent.subarray(19, -2).equals(Buffer.concat(tuples)));
      assert(sent.subarray(0, 11).equals(Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1')));
      assert(sent.subarray(-2).equals(Buffer.from([255, 255])));
      const number = Int32Array.from({ length: batch.count }, (_, row) => row * 7 - 3);
      const prefix = numberPrefix([number, number]);
      const prefixed = Buffer.concat([...prefixedRows(batch, rows, { prefix, chunks })]);
      const expected = [...rows].map((row, i) => {
        const lead = Buffer.alloc(18);
        lead.writeInt16BE(3);
        for (const at of [2, 10]) {
          lead.writeInt32BE(4, at);
          lead.writeInt32BE(number[row] ?? 0, at + 4);
        }
        return Buffer.concat([lead, tuples[i]?.subarray(2) ?? Buffer.alloc(0)]);
      });
      assert(prefixed.subarray(19, -2).equals(Buffer.concat(expected)));
      // Nothing of the first was written over by the second.
      assert(Buffer.concat(plain).equals(sent));
      if (isAnswered) chunks.answered();
      else chunks.forget();
    }),
    { numRuns: 100, endOnFailure: true },
  );
});

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { ColumnType } from '../src/accept/columns.ts';
import { BatchMemory } from '../src/merge/batch-memory.ts';
import { type KeyFields, keyOrder } from '../src/merge/key-order.ts';
import { referenceOrder } from './support/key-order.ts';

type Field = Uint8Array | undefined;
type Key = readonly Field[];

function integer(bytes: 2 | 4 | 8) {
  const max = 2n ** BigInt(bytes * 8 - 1) - 1n;
  const near = (from: bigint) => fc.bigInt({ min: from, max: from + 40n });
  const values = fc.oneof(
    fc.bigInt({ min: -max - 1n, max }),
    near(-20n),
    near(-max - 1n),
    near(max - 40n),
    // Across the borders of digits.
    near(max / 2n - 20n),
    fc.bigInt({ min: max - max / 4096n, max }),
  );
  return values.map((value) => {
    const out = Buffer.alloc(8);
    out.writeBigInt64BE(value);
    return Uint8Array.from(out.subarray(8 - bytes));
  });
}

/** Few different bytes, common beginnings, zeros at the end: what can be mistaken for equal. */
const text = fc.oneof(
  fc.uint8Array({ max: 2, maxLength: 4 }),
  fc.uint8Array({ maxLength: 20 }),
  fc
    .uint8Array({ max: 1, maxLength: 3 })
    .map((end) => Buffer.concat([Buffer.from('order-0000'), end])),
  fc.nat(2000).map((n) => Buffer.from(`order-${String(n).padStart(12, '0')}`)),
);

const types: readonly { readonly type: ColumnType; readonly field: fc.Arbitrary<Uint8Array> }[] = [
  { type: { kind: 'int', bytes: 8 }, field: integer(8) },
  { type: { kind: 'int', bytes: 4 }, field: integer(4) },
  { type: { kind: 'int', bytes: 2 }, field: integer(2) },
  { type: { kind: 'text' }, field: text },
];

interface Keys {
  readonly type: ColumnType | undefined;
  readonly width: number;
  readonly rows: readonly Key[];
}

/** Some of a column's values come again and again, in some keys one is not provided. */
const keys: fc.Arbitrary<Keys> = fc
  .array(fc.constantFrom(...types), { minLength: 1, maxLength: 3 })
  .chain((columns) => {
    const fields = columns.map(({ field }) =>
      fc
        .array(field, { minLength: 1, maxLength: 40 })
        .chain((few) =>
          fc.constantFrom(
            fc.constantFrom(...few),
            fc.constant(few[0]),
            fc.oneof(
              { weight: 20, arbitrary: field },
              { weight: 1, arbitrary: fc.constant(undefined) },
            ),
          ),
        ),
    );
    return fc
      .tuple(...fields)
      .chain((chosen) => fc.array(fc.tuple(...chosen), { maxLength: 700, size: 'max' }))
      .map((rows) => ({ type: columns[0]?.type, width: columns.length, rows }));
  });

function fieldsOf({ rows, width }: Keys): KeyFields {
  // Something stands before the first field, as in a tuple.
  const parts: Uint8Array[] = [Uint8Array.of(0, 1, 0, 0, 0, 8, 255, 255)];
  const offsets = new Int32Array(rows.length * width);
  const lengths = new Int32Array(rows.length * width);
  let at = 8;
  rows.flat().forEach((field, i) => {
    if (!field) return;
    parts.push(field);
    offsets[i] = at;
    lengths[i] = field.length;
    at += field.length;
  });
  const bytes = Uint8Array.from(Buffer.concat(parts));
  return { bytes, view: new DataView(bytes.buffer), width, offsets, lengths };
}

test('any keys come into the order that comparing them gives, equal ones as they came', () => {
  const memory = new BatchMemory();
  fc.assert(
    fc.property(keys, fc.nat(3), (given, isSorted) => {
      const count = given.rows.length;
      let fields = fieldsOf(given);
      let expected = referenceOrder(fields, count, given.type);
      if (isSorted === 0) {
        // Keys that ascend already.
        const rows = [...expected].flatMap((row) => [given.rows[row] ?? []]);
        fields = fieldsOf({ ...given, rows });
        expected = referenceOrder(fields, count, given.type);
      }
      const order = keyOrder(fields, { count, type: given.type }, memory.rowsFor(count));
      assert.deepEqual([...order], [...expected]);
    }),
    // To shrink hundreds of rows takes minutes.
    { numRuns: 400, endOnFailure: true },
  );
});

test('integers are ordered as numbers, to the last of 64 bits', () => {
  const values = [5n, -1n, 2n ** 63n - 1n, 0n, -(2n ** 63n), 2n ** 53n + 1n, 2n ** 53n, -2n];
  const many = Array.from({ length: 400 }, (_, i) => (values[i % 8] ?? 0n) ^ BigInt(i >> 3));
  const rows = many.map((value) => {
    const out = Buffer.alloc(8);
    out.writeBigInt64BE(BigInt.asIntN(64, value));
    return [out];
  });
  const type = { kind: 'int', bytes: 8 } as const;
  const given = { type, width: 1, rows };
  const order = keyOrder(fieldsOf(given), { count: 400, type }, new BatchMemory().rowsFor(400));
  const sorted = [...order].map((row) => BigInt.asIntN(64, many[row] ?? 0n));
  assert.deepEqual(
    sorted,
    sorted.toSorted((a, b) => (a < b ? -1 : Number(a > b))),
  );
});

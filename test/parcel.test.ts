import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { RowBuffer } from '../src/accept/row-buffer.ts';
import { layParcel, type Parcel, readParcel } from '../src/threads/parcel.ts';

const bytes = fc.uint8Array({ maxLength: 60 });
const rows = fc.array(
  fc.record({ tuple: bytes, set: fc.nat({ max: 2 }), lane: fc.nat({ max: 1023 }) }),
  { maxLength: 40 },
);
const undecoded = fc.array(
  fc.record({ raw: bytes, code: fc.constant('bad-json' as const), message: fc.string() }),
  { maxLength: 4 },
);
const keyed = fc.option(fc.record({ key: fc.string(), digest: fc.string() }), { nil: undefined });

const parcels = fc.record({ own: rows, lines: undecoded, by: keyed });

function bufferOf(given: readonly { tuple: Uint8Array; set: number; lane: number }[]): RowBuffer {
  const buffer = new RowBuffer();
  const sets = [[0], [0, 1], [2]];
  for (const { tuple, set, lane } of given) {
    buffer.reserve(buffer.length, tuple.length);
    buffer.bytes.set(tuple, buffer.length);
    buffer.push(buffer.length + tuple.length, buffer.setIndex(sets[set] ?? []), lane);
  }
  return buffer;
}

/** All that the core looks at. */
const seen = ({ id, stream, decoded: { rows: own, ...rest } }: Parcel) => ({
  ...rest,
  id,
  stream,
  undecoded: rest.undecoded.map(({ raw, ...line }) => ({ ...line, raw: [...raw] })),
  rows: Array.from({ length: own.count }, (_, row) => ({
    tuple: [...own.bytes.subarray(own.start(row), own.ends[row])],
    set: own.columnSets[own.sets[row] ?? -1],
    lane: own.lanes[row],
  })),
  length: own.length,
});

test('a parcel is read as it was laid out, wherever it lies', () => {
  fc.assert(
    fc.property(parcels, fc.nat({ max: 9 }), ({ own, lines, by }, place) => {
      const rejected = lines.map(({ code, message }, i) => ({
        ...{ line: i, column: null, code, message },
      }));
      const decoded = { rows: bufferOf(own), table: 3, undecoded: lines, rejected, ...by };
      const parcel = { id: 7, stream: 'påyments', decoded };
      const laid = layParcel(parcel);
      const memory = new Uint8Array(new SharedArrayBuffer(laid.length + 200)).fill(0xee);
      const at = 8 * place;
      laid.write(memory, at);
      assert.deepEqual(seen(readParcel(memory, at)), seen(parcel));
      const around = [...memory.subarray(0, at), ...memory.subarray(at + laid.length)];
      assert(
        around.every((byte) => byte === 0xee),
        'nothing is written beside it',
      );
    }),
  );
});

import assert from 'node:assert/strict';
import test from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { RowBuffer } from '../src/accept/row-buffer.ts';
import { Calls } from '../src/threads/calls.ts';
import { layParcel, type Parcel, readParcel } from '../src/threads/parcel.ts';
import { ParcelReceiver } from '../src/threads/parcel-receiver.ts';
import { ParcelSender } from '../src/threads/parcel-sender.ts';
import { createRing } from '../src/threads/ring.ts';
import { failRing } from '../src/threads/ring-side.ts';
import { Random } from './simulation/random.ts';

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

test('rows stay where they lie until they are done with, in any order', async () => {
  const ring = createRing({ capacityBytes: 16 * 1024 });
  const large: Uint8Array[] = [];
  const calls = new Calls(
    {
      postMessage: (messages) => {
        for (const message of messages) {
          if ('method' in message) large.push(message.args[0] as Uint8Array);
        }
      },
    },
    {},
    assert.ifError,
  );
  const sender = new ParcelSender(ring, calls);
  const random = new Random(7);
  const parcelOf = (id: number, tuple: Uint8Array): Parcel => {
    const rows = bufferOf([{ tuple, set: 0, lane: 0 }]);
    return { id, stream: 's', decoded: { rows, table: 1, undecoded: [], rejected: [] } };
  };
  const parcels = Array.from({ length: 300 }, (_, id) =>
    parcelOf(id, new Uint8Array(100 + random.below(900)).fill(id)),
  );
  const taken: { readonly parcel: Parcel; readonly done: () => void }[] = [];
  const receiver = new ParcelReceiver(
    ring,
    (parcel) => new Promise((done) => taken.push({ parcel, done })),
  );
  const running = receiver.run();
  for (const parcel of parcels) sender.send(parcel);
  const seenIds: number[] = [];
  for (let turns = 0; seenIds.length < parcels.length; turns++) {
    assert(turns < 100_000, 'it comes to an end');
    await turn();
    // A full ring holds its parcels until one after another is let go, by chance.
    const [one] = taken.splice(random.below(Math.max(1, taken.length)), 1);
    if (!one) continue;
    const { parcel, done } = one;
    assert.deepEqual(seen(parcel), seen(parcels[parcel.id] ?? parcel));
    seenIds.push(parcel.id);
    done();
  }
  assert.deepEqual(
    seenIds.toSorted((a, b) => a - b),
    parcels.map(({ id }) => id),
  );
  sender.send(parcelOf(300, new Uint8Array(20_000).fill(9)));
  await turn();
  const [bytes] = large;
  assert(bytes, 'what is too long for the ring goes beside it');
  assert.equal(readParcel(bytes, 0).decoded.rows.bytes[19_999], 9);
  failRing(ring, 'producer');
  await running;
});

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { Column, Table } from '../src/accept/columns.ts';
import { blockKind, bytesOf } from '../src/journal/block.ts';
import type { ReadBlock } from '../src/journal/block-reader.ts';
import { Dictionary } from '../src/journal/dictionary.ts';
import { encodeUndecoded } from '../src/journal/undecoded.ts';
import { Assembly } from '../src/merge/assemble.ts';
import type { Batch } from '../src/merge/batch.ts';
import { BatchMemory } from '../src/merge/batch-memory.ts';
import { ledgerRows } from '../src/merge/ledger.ts';

const column = (name: string, type: Column['type']): Column => ({
  name,
  type,
  sqlType: type.kind,
  nullable: true,
  hasDefault: true,
  writable: true,
  bytewiseEqual: true,
});

const table: Table = {
  name: 't',
  columns: [
    column('note', { kind: 'text' }),
    column('id', { kind: 'int', bytes: 8 }),
    column('n', { kind: 'int', bytes: 4 }),
  ],
  keys: [['id']],
  fingerprint: 'f',
  warnings: [],
};

/** The last one does not provide the key. */
const sets = [[0, 1, 2], [1], [0, 1], [0, 2]];

const dictionary = new Dictionary();
dictionary.learn({
  streams: [],
  tables: [{ id: 1, stream: 1, table }],
  shapes: sets.map((set, i) => ({ id: i + 1, table: 1, set })),
});

interface Given {
  readonly id: bigint;
  readonly note: string | null;
}

interface Lines {
  readonly lane: number;
  readonly set: number;
  readonly rows: readonly Given[];
}

const row: fc.Arbitrary<Given> = fc.record({
  id: fc.oneof(
    fc.bigInt({ min: -5n, max: 5n }),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  ),
  // Long ones make the batch grow out of its memory.
  note: fc.option(
    fc.oneof(
      fc.string({ maxLength: 12 }),
      fc.nat(900).map((n) => 'x'.repeat(n)),
    ),
  ),
});
const lines: fc.Arbitrary<Lines> = fc.record({
  lane: fc.nat(5),
  set: fc.nat(sets.length - 1),
  rows: fc.array(row, { minLength: 1, maxLength: 60, size: 'max' }),
});

function field(place: number, { id, note }: Given): Buffer {
  if (place === 0 && note === null) return Buffer.from([255, 255, 255, 255]);
  const value = Buffer.alloc(place === 1 ? 8 : 4);
  if (place === 1) value.writeBigInt64BE(id);
  const bytes = place === 0 ? Buffer.from(note ?? '') : value;
  const length = Buffer.alloc(4);
  length.writeInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

function tuple(set: readonly number[], given: Given): Buffer {
  return Buffer.concat([Buffer.from([0, set.length]), ...set.map((place) => field(place, given))]);
}

/** What a row of a batch is: all that is said of it. */
interface Told {
  readonly lane: number;
  readonly sequence: number;
  readonly set: readonly number[];
  readonly tuple: string;
}

/** Blocks as a feed gives them: in a window that is written over afterwards. */
function assemble(memory: BatchMemory, blocks: readonly Lines[]): Batch {
  const assembly = new Assembly(dictionary, { rowsMax: 20_000, bytesMax: 1 << 20 }, memory);
  const next = new Map<number, number>();
  for (const { lane, set, rows } of blocks) {
    const first = next.get(lane) ?? 1;
    next.set(lane, first + rows.length);
    const bytes = Buffer.concat(rows.map((given) => tuple(sets[set] ?? [], given)));
    const window = bytesOf(Uint8Array.from(bytes));
    const header = {
      ...{ kind: blockKind.rows, segment: 1, salt: 0, lane, stream: 1, shape: set + 1 },
      ...{ rowCount: rows.length, first, group: 1, index: 0, blocks: 1, wallMs: 0 },
      ...{ durable: { segment: 1, offset: 0 }, payloadBytes: bytes.length, payloadCrc: first },
    };
    const block: ReadBlock = { header, offset: 0, next: 0, window, start: 0, end: bytes.length };
    assert.equal(assembly.add(block), 'more');
    window.bytes.fill(255);
  }
  const rules = { stream: 's', key: ['id'], onConflict: 'ignore' } as const;
  return assembly.finish({ writer: 'w', epoch: 1, rules, table, wallMs: 0 });
}

function told(batch: Batch): Told[] {
  return Array.from({ length: batch.count }, (_, at) => ({
    lane: batch.slices[batch.sliceOf[at] ?? 0]?.lane ?? -1,
    sequence: batch.sequences[at] ?? 0,
    set: batch.columnSets[batch.sets[at] ?? 0] ?? [],
    tuple: Buffer.from(batch.bytes.subarray(batch.starts[at], batch.tupleEnds[at])).toString('hex'),
  }));
}

test('what did not decode counts towards the bytes of a batch', () => {
  const raw = new Uint8Array(16 * 1024);
  const bytes = Buffer.from(encodeUndecoded([{ raw, code: 'bad-json', message: 'm' }]));
  const bytesMax = 4 * bytes.length;
  const assembly = new Assembly(dictionary, { rowsMax: 20_000, bytesMax }, new BatchMemory());
  const added = Array.from({ length: 5 }, (_, i) => {
    const header = {
      ...{ kind: blockKind.undecoded, segment: 1, salt: 0, lane: 1, stream: 1, shape: 0 },
      ...{ rowCount: 1, first: i + 1, group: 1, index: 0, blocks: 1, wallMs: 0 },
      ...{ durable: { segment: 1, offset: 0 }, payloadBytes: bytes.length, payloadCrc: i },
    };
    const window = bytesOf(Uint8Array.from(bytes));
    return assembly.add({ header, offset: 0, next: 0, window, start: 0, end: bytes.length });
  });
  assert.deepEqual(added, ['more', 'more', 'more', 'full', 'later']);
});

test('a batch has the rows of its blocks, in whatever memory batches lay before', () => {
  const memory = new BatchMemory();
  fc.assert(
    fc.property(fc.array(lines, { minLength: 1, maxLength: 30 }), fc.nat(9), (blocks, chance) => {
      if (chance === 0) memory.release();
      const next = new Map<number, number>();
      const rows = blocks.flatMap(({ lane, set, rows: own }) =>
        own.map((given) => {
          const sequence = next.get(lane) ?? 1;
          next.set(lane, sequence + 1);
          const columns = sets[set] ?? [];
          const hex = tuple(columns, given).toString('hex');
          const key = columns.includes(1) ? given.id : -(2n ** 64n);
          return { key, is: { lane, sequence, set: columns, tuple: hex } };
        }),
      );
      const batch = assemble(memory, blocks);
      assert.deepEqual(
        told(batch),
        rows.map(({ is }) => is),
      );
      const sorted = rows
        .map(({ key }, at) => ({ key, at }))
        .sort((a, b) => (a.key < b.key ? -1 : Number(a.key > b.key)));
      assert.deepEqual(
        [...batch.order],
        sorted.map(({ at }) => at),
      );
      const lanes = batch.slices.map(({ lane, first, last }) => [lane, first, last]);
      const expected = [...next].map(([lane, end]) => [lane, 1, end - 1]);
      assert.deepEqual(
        lanes,
        expected.sort((a, b) => (a[0] ?? 0) - (b[0] ?? 0)),
      );
      const merged = new Uint8Array(batch.count);
      assert.deepEqual(ledgerRows(batch, undefined), ledgerRows(batch, merged));
      assert.deepEqual({ ...batch }, { ...assemble(new BatchMemory(), blocks) });
    }),
    { numRuns: 150, endOnFailure: true },
  );
});

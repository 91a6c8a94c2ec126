// Batches from plain rows, without a journal in between.
import assert from 'node:assert/strict';
import type { Table } from '../../src/accept/columns.ts';
import { compileRows } from '../../src/accept/compile.ts';
import { tupleBytes } from '../../src/accept/render.ts';
import { RowBuffer } from '../../src/accept/row-buffer.ts';
import type { Row } from '../../src/accept/rows.ts';
import type { RowCode } from '../../src/errors.ts';
import type { Batch, MergeRules, Slice, Undecoded } from '../../src/merge/batch.ts';
import { eachField } from './fields.ts';

/** A record whose line never decoded. */
export class NotDecoded {
  readonly raw: Uint8Array;
  readonly code: RowCode;

  constructor(raw: Uint8Array | string, code: RowCode = 'bad-json') {
    this.raw = Buffer.from(raw);
    this.code = code;
  }
}

/** Records of one lane, from sequence `first` on. */
export interface LaneRecords {
  readonly lane: number;
  readonly first: number;
  readonly records: readonly (Row | NotDecoded)[];
}

export interface BatchOptions {
  readonly writer: string;
  readonly epoch: number;
  readonly rules: MergeRules;
  /** What the bytes mean. */
  readonly journaled: Table;
  /** What the target was last seen to have; `journaled` by default. */
  readonly table?: Table;
}

/** Lanes must ascend. The order is by the bytes of the key, as the journal has them. */
export function batchOf(options: BatchOptions, lanes: readonly LaneRecords[]): Batch {
  const { journaled, rules } = options;
  const reader = compileRows(journaled, {
    key: rules.key,
    lanes: 1,
    nonZero: [],
    inexact: 'refuse',
    lineBytesMax: 1 << 20,
  });
  const into = new RowBuffer();
  const undecoded: Undecoded[] = [];
  const places: { readonly slice: number; readonly sequence: number }[] = [];
  const rows: Row[] = [];
  lanes.forEach(({ first, records }, slice) => {
    records.forEach((record, i) => {
      const sequence = first + i;
      if (record instanceof NotDecoded) {
        const { raw, code } = record;
        undecoded.push({ slice, sequence, raw, code, message: `cannot be read: ‘${code}’` });
      } else {
        places.push({ slice, sequence });
        rows.push(record);
      }
    });
  });
  const read = reader.objects(rows, into);
  assert.deepEqual(read.rejected, [], 'the rows of a batch are good');
  const starts = Int32Array.from(rows, (_, row) => into.start(row));
  const whole = {
    writer: options.writer,
    epoch: options.epoch,
    rules,
    journaled,
    table: options.table ?? journaled,
    slices: lanes.map(({ lane, first, records }): Slice => {
      return { lane, first, last: first + records.length - 1, digest: 4_000_000_000 + lane };
    }),
    count: rows.length,
    bytes: into.bytes.subarray(0, into.length),
    starts,
    tupleEnds: into.ends.slice(0, rows.length),
    sliceOf: Uint16Array.from(places, ({ slice }) => slice),
    sequences: Float64Array.from(places, ({ sequence }) => sequence),
    sets: into.sets.slice(0, rows.length),
    columnSets: into.columnSets,
    undecoded,
    wallMs: Date.now(),
  };
  return { ...whole, order: keyOrder(whole) };
}

function keyOrder(batch: Omit<Batch, 'order'>): Int32Array {
  const from = tupleBytes(batch.bytes);
  const keys = Array.from({ length: batch.count }, (_, row) => {
    const fields = new Map<string, Buffer>();
    const set = batch.columnSets[batch.sets[row] ?? 0] ?? [];
    const tuple = { start: batch.starts[row] ?? 0, columns: batch.journaled.columns, set };
    eachField(from, tuple, ({ name }, { start, length }) => {
      fields.set(name, Buffer.from(batch.bytes.subarray(start, start + Math.max(length, 0))));
    });
    return Buffer.concat(batch.rules.key.map((name) => fields.get(name) ?? Buffer.alloc(0)));
  });
  const rows = Int32Array.from(keys, (_, row) => row);
  return rows.sort(
    (a, b) => Buffer.compare(keys[a] ?? Buffer.alloc(0), keys[b] ?? Buffer.alloc(0)) || a - b,
  );
}

/** The only row of a batch that replays a dead letter. */
export function replayOf(options: BatchOptions, row: Row): Batch {
  return { ...batchOf(options, [{ lane: 0, first: 1, records: [row] }]), slices: [] };
}

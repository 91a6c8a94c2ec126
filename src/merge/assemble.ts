// Gathers the blocks that a feed hands over into one batch: bytes once copied, rows found by
// offset.
import assert from 'node:assert/strict';
import { crc32 } from 'node:zlib';
import type { Table } from '../accept/columns.ts';
import type { ColumnSet } from '../accept/row-buffer.ts';
import { blockKind } from '../journal/block.ts';
import type { ReadBlock } from '../journal/block-reader.ts';
import type { Dictionary } from '../journal/dictionary.ts';
import { decodeUndecoded } from '../journal/undecoded.ts';
import type { Batch, MergeRules, Slice, Undecoded } from './batch.ts';
import type { BatchMemory } from './batch-memory.ts';
import { type KeyFields, keyOrder } from './key-order.ts';

export interface BatchBounds {
  readonly rowsMax: number;
  readonly bytesMax: number;
}

interface OpenSlice {
  readonly lane: number;
  readonly first: number;
  last: number;
  digest: number;
}

interface Piece {
  readonly slice: number;
  readonly first: number;
  readonly rows: number;
  readonly set: number;
  readonly start: number;
  readonly end: number;
}

/** A block's checksum, on its way into its slice's digest. */
const sum = new Uint8Array(4);
const sumView = new DataView(sum.buffer);

/** The batch in the making. One use: add blocks, then finish. */
export class Assembly {
  readonly #dictionary: Dictionary;
  readonly #bounds: BatchBounds;
  readonly #memory: BatchMemory;
  #length = 0;
  #rows = 0;
  #table: { readonly id: number; readonly table: Table } | undefined;
  readonly #shapes: number[] = [];
  readonly #columnSets: ColumnSet[] = [];
  readonly #slices: OpenSlice[] = [];
  readonly #sliceOfLane = new Map<number, number>();
  readonly #pieces: Piece[] = [];
  readonly #undecoded: Undecoded[] = [];
  #undecodedBytes = 0;

  /** The batch lies in `memory`: it is gone when the next one is assembled there. */
  constructor(dictionary: Dictionary, bounds: BatchBounds, memory: BatchMemory) {
    this.#dictionary = dictionary;
    this.#bounds = bounds;
    this.#memory = memory;
  }

  get #bytes(): number {
    return this.#length + this.#undecodedBytes;
  }

  get records(): number {
    return this.#rows + this.#undecoded.length;
  }

  /** 'later' where the block does not fit any more or has another version of the table. */
  add(block: ReadBlock): 'more' | 'full' | 'later' {
    const { header } = block;
    const { rowsMax, bytesMax } = this.#bounds;
    const length = block.end - block.start;
    const isOver = this.records + header.rowCount > rowsMax || this.#bytes + length > bytesMax;
    if (this.records > 0 && isOver) return 'later';
    if (header.kind === blockKind.undecoded) {
      this.#addUndecoded(block);
    } else {
      const { shape, table } = this.#dictionary.shapeOf(header.shape);
      if (this.#table && this.#table.id !== table.id) return 'later';
      this.#table = table;
      this.#addRows(block, this.#setOf(shape.id, shape.set));
    }
    return this.records >= rowsMax || this.#bytes >= bytesMax ? 'full' : 'more';
  }

  #setOf(shape: number, set: ColumnSet): number {
    const known = this.#shapes.indexOf(shape);
    if (known >= 0) return known;
    this.#shapes.push(shape);
    return this.#columnSets.push(set) - 1;
  }

  #slice({ header }: ReadBlock): number {
    sumView.setUint32(0, header.payloadCrc, true);
    const at = this.#sliceOfLane.get(header.lane);
    const last = header.first + header.rowCount - 1;
    const slice = at === undefined ? undefined : this.#slices[at];
    if (at !== undefined && slice) {
      assert.equal(header.first, slice.last + 1, 'a slice has no gap');
      slice.last = last;
      slice.digest = crc32(sum, slice.digest);
      return at;
    }
    const { lane, first } = header;
    this.#slices.push({ lane, first, last, digest: crc32(sum) });
    this.#sliceOfLane.set(lane, this.#slices.length - 1);
    return this.#slices.length - 1;
  }

  #addRows(block: ReadBlock, set: number): void {
    const { window, start, end, header } = block;
    const length = end - start;
    this.#memory.reserveBytes(this.#length + length, this.#length);
    this.#memory.bytes.set(window.bytes.subarray(start, end), this.#length);
    const slice = this.#slice(block);
    const at = this.#length;
    const { first, rowCount: rows } = header;
    this.#pieces.push({ slice, first, rows, set, start: at, end: at + length });
    this.#length += length;
    this.#rows += rows;
  }

  #addUndecoded(block: ReadBlock): void {
    const slice = this.#slice(block);
    // The window is reused: keep the bytes.
    const bytes = block.window.bytes.slice(block.start, block.end);
    this.#undecodedBytes += bytes.length;
    const from = { bytes, view: new DataView(bytes.buffer) };
    decodeUndecoded(from, 0, bytes.length).forEach((row, i) => {
      this.#undecoded.push({ slice, sequence: block.header.first + i, ...row });
    });
  }

  /** The batch. `fallback` stands in as the table where no row of it decoded. */
  finish(whole: {
    readonly writer: string;
    readonly epoch: number;
    readonly rules: MergeRules;
    readonly table: Table;
    readonly wallMs: number;
  }): Batch {
    const places = this.#slices.map((_, i) => i);
    places.sort((a, b) => (this.#slices[a]?.lane ?? 0) - (this.#slices[b]?.lane ?? 0));
    const rank = new Uint16Array(places.length);
    places.forEach((place, i) => {
      rank[place] = i;
    });
    const journaled = this.#table?.table ?? whole.table;
    const rows = this.#findRows(rank, keyColumns(journaled, whole.rules.key));
    return {
      writer: whole.writer,
      epoch: whole.epoch,
      rules: whole.rules,
      journaled,
      table: whole.table,
      slices: places.flatMap((place): Slice[] => {
        const slice = this.#slices[place];
        return slice ? [slice] : [];
      }),
      count: this.#rows,
      bytes: this.#memory.bytes.subarray(0, this.#length),
      columnSets: this.#columnSets,
      undecoded: this.#undecoded.map((row) => ({ ...row, slice: rank[row.slice] ?? 0 })),
      wallMs: whole.wallMs,
      ...rows,
    };
  }

  #findRows(rank: Uint16Array, key: readonly number[]) {
    const count = this.#rows;
    const { bytes } = this.#memory;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const rows = this.#memory.rowsFor(count);
    const { bounds, sliceOf, sequences, sets } = rows;
    const width = key.length;
    const keys: KeyFields = { bytes, view, width, ...this.#memory.fieldsFor(count * width) };
    const fieldKeys = this.#columnSets.map((set) =>
      Int32Array.from(set, (column) => key.indexOf(column)),
    );
    let row = 0;
    for (const piece of this.#pieces) {
      const { rows: own, first, set } = piece;
      const fieldKey = fieldKeys[set] ?? new Int32Array(0);
      let at = piece.start;
      for (let i = 0; i < own; i++) {
        bounds[row + i] = at;
        sequences[row + i] = first + i;
        at = findFields(keys, fieldKey, { at, row: row + i });
      }
      assert.equal(at, piece.end, 'the tuples of a block fill it');
      sliceOf.fill(rank[piece.slice] ?? 0, row, row + own);
      sets.fill(set, row, row + own);
      row += own;
    }
    bounds[count] = this.#length;
    const type = this.#table?.table.columns[key[0] ?? -1]?.type;
    return {
      starts: bounds.subarray(0, count),
      tupleEnds: bounds.subarray(1, count + 1),
      sliceOf: sliceOf.subarray(0, count),
      sequences: sequences.subarray(0, count),
      sets: sets.subarray(0, count),
      order: keyOrder(keys, { count, type }, rows),
    };
  }
}

/** Walks one tuple, noting where its key fields stand; returns its end. */
function findFields(
  keys: KeyFields,
  fieldKey: Int32Array,
  tuple: { readonly at: number; readonly row: number },
): number {
  const { view, offsets, lengths } = keys;
  let at = tuple.at + 2;
  for (let field = 0; field < fieldKey.length; field++) {
    const length = view.getInt32(at);
    const place = fieldKey[field] ?? -1;
    at += 4;
    if (place >= 0) {
      offsets[tuple.row * keys.width + place] = at;
      lengths[tuple.row * keys.width + place] = Math.max(length, 0);
    }
    if (length > 0) at += length;
  }
  return at;
}

function keyColumns(table: Table, key: readonly string[]): number[] {
  return key.map((name) => {
    const at = table.columns.findIndex((column) => column.name === name);
    assert(at >= 0, `key column ${name} is in the journaled table`);
    return at;
  });
}

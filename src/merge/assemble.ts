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

/** The batch in the making. One use: add blocks, then finish. */
export class Assembly {
  readonly #dictionary: Dictionary;
  readonly #bounds: BatchBounds;
  readonly #bytesHint: number;
  #bytes = new Uint8Array(0);
  #length = 0;
  #rows = 0;
  #table: { readonly id: number; readonly table: Table } | undefined;
  readonly #shapes: number[] = [];
  readonly #columnSets: ColumnSet[] = [];
  readonly #slices: OpenSlice[] = [];
  readonly #sliceOfLane = new Map<number, number>();
  readonly #pieces: Piece[] = [];
  readonly #undecoded: Undecoded[] = [];

  /**
   * Expects `bytesHint` bytes of rows: to grow to the size of a large batch by doubling takes
   * three times its memory.
   */
  constructor(dictionary: Dictionary, bounds: BatchBounds, bytesHint = 64 * 1024) {
    this.#dictionary = dictionary;
    this.#bounds = bounds;
    this.#bytesHint = bytesHint;
  }

  get records(): number {
    return this.#rows + this.#undecoded.length;
  }

  /** 'later' where the block does not fit any more or has another version of the table. */
  add(block: ReadBlock): 'more' | 'full' | 'later' {
    const { header } = block;
    const { rowsMax, bytesMax } = this.#bounds;
    const length = block.end - block.start;
    const isOver = this.records + header.rowCount > rowsMax || this.#length + length > bytesMax;
    if (this.records > 0 && isOver) return 'later';
    if (header.kind === blockKind.undecoded) {
      this.#addUndecoded(block);
    } else {
      const { shape, table } = this.#dictionary.shapeOf(header.shape);
      if (this.#table && this.#table.id !== table.id) return 'later';
      this.#table = table;
      this.#addRows(block, this.#setOf(shape.id, shape.set));
    }
    return this.records >= rowsMax || this.#length >= bytesMax ? 'full' : 'more';
  }

  #setOf(shape: number, set: ColumnSet): number {
    const known = this.#shapes.indexOf(shape);
    if (known >= 0) return known;
    this.#shapes.push(shape);
    return this.#columnSets.push(set) - 1;
  }

  #slice({ header }: ReadBlock): number {
    const sum = new Uint8Array(4);
    new DataView(sum.buffer).setUint32(0, header.payloadCrc, true);
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
    if (this.#length + length > this.#bytes.length) {
      const wanted = Math.max(this.#bytesHint, this.#bytes.length * 2, this.#length + length);
      const grown = new Uint8Array(wanted);
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    this.#bytes.set(window.bytes.subarray(start, end), this.#length);
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
      bytes: this.#bytes.subarray(0, this.#length),
      columnSets: this.#columnSets,
      undecoded: this.#undecoded.map((row) => ({ ...row, slice: rank[row.slice] ?? 0 })),
      wallMs: whole.wallMs,
      ...rows,
    };
  }

  #findRows(rank: Uint16Array, key: readonly number[]) {
    const count = this.#rows;
    const starts = new Int32Array(count);
    const tupleEnds = new Int32Array(count);
    const sliceOf = new Uint16Array(count);
    const sequences = new Float64Array(count);
    const sets = new Uint16Array(count);
    const bytes = this.#bytes;
    const view = new DataView(bytes.buffer);
    const width = key.length;
    const offsets = new Int32Array(count * width);
    const lengths = new Int32Array(count * width);
    const keys: KeyFields = { bytes, view, width, offsets, lengths };
    let row = 0;
    for (const piece of this.#pieces) {
      const fieldKey = (this.#columnSets[piece.set] ?? []).map((column) => key.indexOf(column));
      let at = piece.start;
      for (let i = 0; i < piece.rows; i++, row++) {
        starts[row] = at;
        sliceOf[row] = rank[piece.slice] ?? 0;
        sequences[row] = piece.first + i;
        sets[row] = piece.set;
        at = findFields(keys, fieldKey, { at, row });
        tupleEnds[row] = at;
      }
      assert.equal(at, piece.end, 'the tuples of a block fill it');
    }
    const first = this.#table?.table.columns[key[0] ?? -1]?.type;
    const order =
      width > 0 ? keyOrder(keys, count, first) : Int32Array.from({ length: count }, (_, i) => i);
    return { starts, tupleEnds, sliceOf, sequences, sets, order };
  }
}

/** Walks one tuple, noting where its key fields stand; returns its end. */
function findFields(
  keys: KeyFields,
  fieldKey: readonly number[],
  tuple: { readonly at: number; readonly row: number },
): number {
  let at = tuple.at + 2;
  for (const place of fieldKey) {
    const length = keys.view.getInt32(at);
    at += 4;
    if (place >= 0) {
      keys.offsets[tuple.row * keys.width + place] = at;
      keys.lengths[tuple.row * keys.width + place] = Math.max(length, 0);
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

// Rows as accept hands them to the journal: tuples of the row format back to back, and beside them
// the end, the column set and the lane of each. No object per row.
import { HoldfastError } from '../errors.ts';

/** Places of sets must fit `RowBuffer.sets`. */
const columnSetsMax = 65_536;

/**
 * A set of provided columns: their places in `Table.columns`, ascending. The tuple has just these.
 */
export type ColumnSet = readonly number[];

type RowsElsewhere = Pick<RowBuffer, 'bytes' | 'count' | 'ends' | 'sets' | 'lanes' | 'columnSets'>;

export class RowBuffer {
  /** Tuples back to back; the first `length` bytes are used. At least 64 bytes of slack follow. */
  bytes: Uint8Array;
  view: DataView;
  length = 0;
  count = 0;
  /** Per row: where its tuple ends in `bytes`. */
  ends: Int32Array;
  /** Per row: its place in `sets`. */
  sets: Uint16Array;
  /** Per row: its lane. */
  lanes: Uint16Array;
  /** The column sets that occur, in order of appearance. */
  readonly columnSets: ColumnSet[] = [];
  readonly #setPlaces = new Map<string, number>();
  #lastSet: ColumnSet | undefined;
  #lastPlace = 0;

  constructor(bytesHint = 4096, rowsHint = 32) {
    const storage = new ArrayBuffer(bytesHint + 64);
    this.bytes = new Uint8Array(storage);
    this.view = new DataView(storage);
    this.ends = new Int32Array(rowsHint);
    this.sets = new Uint16Array(rowsHint);
    this.lanes = new Uint16Array(rowsHint);
  }

  /** Rows that stand elsewhere, to be read only. */
  static over(rows: RowsElsewhere): RowBuffer {
    const { bytes, count, ends, sets, lanes, columnSets } = rows;
    const buffer = new RowBuffer(0, 0);
    buffer.bytes = bytes;
    buffer.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    buffer.length = bytes.length;
    buffer.count = count;
    buffer.ends = ends;
    buffer.sets = sets;
    buffer.lanes = lanes;
    buffer.columnSets.push(...columnSets);
    return buffer;
  }

  /**
   * Makes room for `more` bytes after `at`, keeping all bytes before `at`. May replace `bytes` and
   * `view`.
   */
  reserve(at: number, more: number): void {
    if (at + more + 64 <= this.bytes.length) return;
    const storage = new ArrayBuffer(Math.max(this.bytes.length * 2, at + more + 64));
    const bytes = new Uint8Array(storage);
    bytes.set(this.bytes.subarray(0, at));
    this.bytes = bytes;
    this.view = new DataView(storage);
  }

  /** Ends the row whose tuple stands from `length` to `end`. */
  push(end: number, set: number, lane: number): void {
    this.reserveRow();
    this.ends[this.count] = end;
    this.sets[this.count] = set;
    this.lanes[this.count] = lane;
    this.count++;
    this.length = end;
  }

  /**
   * The place of a column set in `columnSets`; added where it is new. Throws HF_TOO_LARGE at
   * `columnSetsMax`, which only rows made to do so can reach.
   */
  setIndex(set: ColumnSet): number {
    if (set === this.#lastSet) return this.#lastPlace;
    const name = set.join();
    const place = this.#setPlaces.get(name) ?? this.#addSet(name, set);
    this.#lastSet = set;
    this.#lastPlace = place;
    return place;
  }

  /** Takes back what `setIndex` added beyond so many sets, which no row has. */
  cutSets(count: number): void {
    if (this.columnSets.length === count) return;
    while (this.columnSets.length > count) this.#setPlaces.delete(String(this.columnSets.pop()));
    this.#lastSet = undefined;
  }

  #addSet(name: string, set: ColumnSet): number {
    if (this.columnSets.length === columnSetsMax) {
      throw new HoldfastError('HF_TOO_LARGE', `more than ${columnSetsMax} sets of columns at once`);
    }
    const place = this.columnSets.push(set) - 1;
    this.#setPlaces.set(name, place);
    return place;
  }

  /** Empty again, with the memory that it has. */
  clear(): void {
    this.length = 0;
    this.count = 0;
    this.columnSets.length = 0;
    this.#setPlaces.clear();
    this.#lastSet = undefined;
  }

  start(row: number): number {
    return row === 0 ? 0 : (this.ends[row - 1] ?? 0);
  }

  /** Makes room for one more row. May replace `ends`, `sets` and `lanes`. */
  reserveRow(): void {
    if (this.count < this.ends.length) return;
    const rows = this.ends.length * 2;
    const ends = new Int32Array(rows);
    const sets = new Uint16Array(rows);
    const lanes = new Uint16Array(rows);
    ends.set(this.ends);
    sets.set(this.sets);
    lanes.set(this.lanes);
    this.ends = ends;
    this.sets = sets;
    this.lanes = lanes;
  }
}

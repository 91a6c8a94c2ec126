// Rows as accept hands them to the journal: tuples of the row format back to back, and beside them
// the end, the column set and the lane of each. No object per row.

/** A set of provided columns: their places in `Table.columns`, ascending. The tuple has just these. */
export type ColumnSet = readonly number[];

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

  constructor(bytesHint = 4096, rowsHint = 32) {
    const storage = new ArrayBuffer(bytesHint + 64);
    this.bytes = new Uint8Array(storage);
    this.view = new DataView(storage);
    this.ends = new Int32Array(rowsHint);
    this.sets = new Uint16Array(rowsHint);
    this.lanes = new Uint16Array(rowsHint);
  }

  /** Makes room for `more` bytes after `at`, keeping all bytes before `at`. May replace `bytes` and `view`. */
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
    if (this.count === this.ends.length) this.#growRows();
    this.ends[this.count] = end;
    this.sets[this.count] = set;
    this.lanes[this.count] = lane;
    this.count++;
    this.length = end;
  }

  /** The place of a column set in `columnSets`; added where it is new. */
  setIndex(set: ColumnSet): number {
    const found = this.columnSets.findIndex(
      (known) => known.length === set.length && known.every((column, i) => column === set[i]),
    );
    return found >= 0 ? found : this.columnSets.push(set) - 1;
  }

  start(row: number): number {
    return row === 0 ? 0 : (this.ends[row - 1] ?? 0);
  }

  #growRows(): void {
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

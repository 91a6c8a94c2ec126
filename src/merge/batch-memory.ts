// The memory of a loader's batches, one after another. A batch takes some megabytes; made anew for
// each, they cost the loader thread a quarter of its time: zeroing, page faults, collections
// (docs/performance.md). It only grows, to the size of the largest batch; whoever is idle for a
// while lets go of it.

/** What rows are put into order with; all arrays have room for the same number of rows. */
export interface OrderMemory {
  readonly high: Uint32Array;
  readonly low: Uint32Array;
  readonly order: Int32Array;
  readonly spare: Int32Array;
}

/** Arrays with room for `rows` rows. What they hold is left from the batch before. */
const arraysFor = (rows: number) => ({
  rows,
  /** Tuples lie back to back: where each begins, and behind them where the last one ends. */
  bounds: new Int32Array(rows + 1),
  sliceOf: new Uint16Array(rows),
  sequences: new Float64Array(rows),
  sets: new Uint16Array(rows),
  high: new Uint32Array(rows),
  low: new Uint32Array(rows),
  order: new Int32Array(rows),
  spare: new Int32Array(rows),
});
export type RowArrays = ReturnType<typeof arraysFor>;

const nothing = new Uint8Array(0);
const noRows = arraysFor(0);
const noFields = new Int32Array(0);

export class BatchMemory {
  bytes = nothing;
  #rows = noRows;
  #offsets = noFields;
  #lengths = noFields;

  /** Makes room for `length` bytes, keeping the first `used`. May replace `bytes`. */
  reserveBytes(length: number, used: number): void {
    if (length <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(64 * 1024, this.bytes.length * 2, length));
    grown.set(this.bytes.subarray(0, used));
    this.bytes = grown;
  }

  rowsFor(count: number): RowArrays {
    if (count > this.#rows.rows) this.#rows = arraysFor(Math.max(count, this.#rows.rows * 2));
    return this.#rows;
  }

  /** Zeros, of that many fields each. */
  fieldsFor(count: number): { readonly offsets: Int32Array; readonly lengths: Int32Array } {
    if (count > this.#offsets.length) {
      const fields = Math.max(count, this.#offsets.length * 2);
      this.#offsets = new Int32Array(fields);
      this.#lengths = new Int32Array(fields);
    }
    const offsets = this.#offsets.subarray(0, count).fill(0);
    const lengths = this.#lengths.subarray(0, count).fill(0);
    return { offsets, lengths };
  }

  release(): void {
    this.bytes = nothing;
    this.#rows = noRows;
    this.#offsets = noFields;
    this.#lengths = noFields;
  }
}
